"""Where nodes attach: the gRPC server of an orchestrator, and who may do so."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from orchestrator.core.deadline import Clock
from orchestrator.core.errors import AccessDenied, CallError, SettingsError, WireError
from orchestrator.core.report import NodeReport
from orchestrator.wire.attached import AttachedNode
from orchestrator.wire.connection import ACCEPTED, LISTEN_OPTIONS, REPLACED
from orchestrator.wire.frames import MESSAGE_BYTES, report_in
from orchestrator.wire.identity import certificate_of, identities_of
from orchestrator.wire.messages import decode_report, encode_report, parse
from orchestrator.wire.security import TlsFiles, server_credentials
from orchestrator.wire.status import status_of
from protos.isthmus.v1 import node_pb2 as pb

_log = logging.getLogger("isthmus.caller")

_FIRST_SECONDS = 5.0
"""How long a node may take to send its first message."""

_SAY_SECONDS = 60.0
"""Seconds between two lines of the log about one stranger."""

_MOST_STRANGERS = 100
_MOST_LETTERS = 100
_CUT_SECONDS = 0.5

Context = grpc.aio.ServicerContext[Any, Any]


class AttachServer:
    """Takes the streams of nodes that attach, each to the node it has proved to be.

    With TLS a node is who its certificate says: a DNS name, an IP address or the SPIFFE id in it.
    In plaintext it is whom it says it is, so let no data go there that a stranger on this machine
    may not see.

    Args:
        address: Where to listen: "host:port" or "unix:/path".
        tls: This orchestrator's certificate, and who signs those of nodes; None is plaintext.
        nodes: The nodes by identity; in plaintext by the name they give.
        clock: Tells when to speak of a stranger again.
    """

    def __init__(
        self,
        address: str,
        tls: TlsFiles | None,
        nodes: Mapping[str, AttachedNode],
        clock: Clock = time.monotonic,
    ) -> None:
        self._address = address
        self._tls = tls
        self._nodes = nodes
        self._clock = clock
        self._strangers: dict[str, float] = {}
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            SettingsError: A TLS file is no good, or the port is taken.
        """
        limits = [(f"grpc.max_{way}_message_length", MESSAGE_BYTES + 64) for way in _WAYS]
        # Not in the constructor: a gRPC server belongs to the loop it is made on.
        server = grpc.aio.server(options=[*LISTEN_OPTIONS, *limits])
        # The messages of sessions pass as the bytes they are.
        handlers = {
            "Attach": grpc.stream_stream_rpc_method_handler(self.attach),
            "ListNodes": grpc.unary_unary_rpc_method_handler(
                self.list_nodes,
                pb.ListNodesRequest.FromString,
                pb.ListNodesReply.SerializeToString,
            ),
        }
        service = grpc.method_handlers_generic_handler("isthmus.v1.Orchestrator", handlers)
        server.add_generic_rpc_handlers((service,))
        try:
            if self._tls:
                server.add_secure_port(self._address, server_credentials(self._tls))
            else:
                server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise SettingsError(
                f"cannot listen on {self._address}: does another orchestrator listen there, and is "
                "the host this machine's?"
            ) from error
        await server.start()
        self._server = server
        _log.info("nodes may attach to %s", self._address)

    async def aclose(self) -> None:
        """End all streams, and listen no more."""
        for node in self._nodes.values():
            await node.aclose()
        if self._server:
            await self._server.stop(_CUT_SECONDS)

    async def attach(self, requests: object, context: Context) -> None:
        """Serve one node's stream until either side ends it."""
        try:
            if not await self._serve(context):
                return
        except asyncio.CancelledError:
            return  # the node has gone, or the server ends: nobody hears a status
        except (AccessDenied, WireError) as error:
            refusal: CallError = error
        except Exception as error:  # gRPC would send its words to a stranger
            _log.error("an attached stream failed: %s", type(error).__name__)
            refusal = WireError()
        else:
            await context.abort(REPLACED, "The node has attached again.")
        code, sentence, trailer = status_of(refusal)
        await context.abort(code, sentence, trailer)

    async def list_nodes(self, request: pb.ListNodesRequest, context: Context) -> pb.ListNodesReply:
        """Say which nodes may attach, and how those are that have."""
        if self._tls and not _shows(context, self._tls):
            code, sentence, trailer = status_of(AccessDenied())
            await context.abort(code, sentence, trailer)
        reply = pb.ListNodesReply()
        for node in self._nodes.values():
            report = encode_report(node.report) if node.report else None
            reply.nodes.add(name=node.name, report=report)
        return reply

    async def _serve(self, context: Context) -> bool:
        """Serve a stream to its end; return whether a newer one has taken its place."""
        if self._tls:
            node = self._known(identities_of(context.auth_context()))
            report = await _first_report(context)
        else:
            report = await _first_report(context)
            node = self._known([report.name])
        await context.send_initial_metadata((ACCEPTED,))
        _log.info("%s attached from %s", node.name, context.peer())
        replaced = await node.serve(context, report)
        if replaced:
            _log.warning("%s attached again: its older stream ends", node.name)
        else:
            _log.info("%s is no longer attached", node.name)
        return replaced

    def _known(self, identities: Sequence[str]) -> AttachedNode:
        """Return the node that bears one of these names.

        Raises:
            AccessDenied: There is none, or more than one.
        """
        found = [self._nodes[name] for name in identities if name in self._nodes]
        if len(found) == 1:
            return found[0]
        self._say_stranger(", ".join(identities)[:_MOST_LETTERS], len(found))
        raise AccessDenied("no attached node of its settings has that identity", shareable=True)

    def _say_stranger(self, names: str, found: int) -> None:
        """Log who was refused: once a while, and for so many of them only."""
        now = self._clock()
        self._strangers = {n: t for n, t in self._strangers.items() if now - t < _SAY_SECONDS}
        if names in self._strangers or len(self._strangers) >= _MOST_STRANGERS:
            return
        self._strangers[names] = now
        _log.warning(
            "a node that is %r wants to attach: %s nodes of the settings have attach: true and "
            "that identity",
            names,
            found or "no",
        )


_WAYS = ("send", "receive")
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def _shows(context: Context, tls: TlsFiles) -> bool:
    """Say whether the other end has shown this end's own certificate."""
    shown = certificate_of(context.auth_context()).decode()
    ours = tls.cert.read_text() if tls.cert else ""
    first, end, _ = ours[ours.find(_BEGIN) :].partition(_END)
    return bool(end) and "".join(shown.split()) == "".join((first + end).split())


async def _first_report(context: Context) -> NodeReport:
    """Return what the first message says; raise WireError if it is no report, or late."""
    try:
        async with asyncio.timeout(_FIRST_SECONDS):
            message: object = await context.read()
    except TimeoutError:
        message = None
    first = report_in(message) if isinstance(message, bytes) else None
    if first is None:
        raise WireError("the first message of a node that attaches is no report")
    return decode_report(parse(pb.NodeReport, first[1]))
