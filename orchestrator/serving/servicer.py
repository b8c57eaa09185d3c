"""The gRPC service of a node: the plain face, one RPC a call, and the way into sessions."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import grpc

from orchestrator.core.call import Call, Chunks
from orchestrator.core.context import CallHandler
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import AccessDenied, CallError, WireError
from orchestrator.core.report import NodeReport
from orchestrator.core.spec import DEFAULT_DEADLINE
from orchestrator.serving.access.access import Access, Credentials
from orchestrator.serving.access.guarded import GuardedNode
from orchestrator.serving.exchange import Exchange
from orchestrator.serving.node import Node
from orchestrator.serving.session import MessageStream, NodeSession
from orchestrator.wire.identity import certificate_of, identities_of
from orchestrator.wire.memory import SHARED_BYTES, shared_memory
from orchestrator.wire.messages import (
    call_id_of,
    encode_payload,
    encode_report,
    encode_timings,
)
from orchestrator.wire.security import is_local_peer
from orchestrator.wire.socketstream import machine
from orchestrator.wire.status import status_of
from orchestrator.wire.unary import longest_message
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import NodeServicer as GeneratedServicer

_REPORT_SECONDS = (0.05, 60.0, 1.0)
"""The shortest and the longest interval of reports that is granted, and the usual one."""

Context = grpc.aio.ServicerContext[Any, Any]


class NodeServicer(GeneratedServicer):
    """Serves a node over gRPC.

    Args:
        node: The node.
        max_bytes: The most that the arguments or the result of a call may carry.
        clock: The node's clock.
        shared_bytes: The most a session shares with a caller on this machine; 0 is nothing.
        access: Who may do what; None lets everyone who can connect do everything.
        wall: Seconds since 1970, by which tokens expire.

    Attributes:
        socket: The name of the socket that its reports tell to callers on this machine.
    """

    def __init__(
        self,
        node: Node,
        max_bytes: int,
        clock: Clock = time.monotonic,
        shared_bytes: int = SHARED_BYTES,
        access: Access | None = None,
        wall: Clock = time.time,
    ) -> None:
        self._access = access
        self._wall = wall
        self._shared_bytes = shared_bytes
        self.socket = ""
        self._node = node
        self._exchange = Exchange(node, max_bytes, clock)
        self._longest = longest_message(max_bytes)
        self._closing = asyncio.Event()
        self._endings: set[asyncio.Event] = set()

    def end_sessions(self) -> None:
        """End the sessions once what they have to say is said."""
        self._closing.set()
        for ending in self._endings:
            ending.set()

    async def Invoke(self, request: pb.InvokeRequest, context: Context) -> pb.InvokeReply:  # noqa: N802
        """Run a service once."""
        async with self._answering(request, context):
            handler, _ = self._handler(context)
            return self._exchange.reply_of(
                await handler.handle(self._call(request, context, stream=False))
            )
        raise AssertionError  # an aborted call does not come here

    async def Stream(  # noqa: N802
        self, request: pb.InvokeRequest, context: Context
    ) -> AsyncIterator[pb.StreamReply]:
        """Run a generator service and stream what it yields."""
        async with self._answering(request, context):
            handler, _ = self._handler(context)
            reply = await handler.handle(self._call(request, context, stream=True))
            chunks: Chunks = reply.value
            try:
                async for chunk in chunks:
                    message = pb.StreamReply()
                    encode_payload(self._exchange.packed(chunk), message.chunk)
                    yield message
            finally:
                await chunks.aclose()
            yield pb.StreamReply(end=encode_timings(chunks.timings))

    # As a coroutine it reads and writes at its own pace; the stubs know generators alone.
    async def Session(  # type: ignore[override]  # noqa: N802
        self, requests: object, context: Any
    ) -> None:
        """Carry many calls until the caller or the node goes away; messages are bytes here."""
        try:
            handler, expires = self._handler(context)
            with self._until(expires) as closing:
                nearby = is_local_peer(context.peer())
                await self.serve(context, nearby=nearby, handler=handler, closing=closing)
        except asyncio.CancelledError:
            return  # cut by the caller or by the end of the server: nobody hears a status
        except (AccessDenied, WireError) as error:
            # Its frames hold the message at fault, and gRPC holds it in a circle with its context.
            await self._abort(context, error.with_traceback(None))

    async def serve(
        self,
        stream: MessageStream,
        *,
        nearby: bool,
        handler: CallHandler | None = None,
        closing: asyncio.Event | None = None,
    ) -> None:
        """Carry a session to its end.

        Args:
            stream: Both directions of its stream.
            nearby: Whether the caller is on this machine.
            handler: Takes its calls; the node itself by default.
            closing: Set when it has to end; by default when all sessions have to.

        Raises:
            WireError: The caller's frames make no sense.
        """
        memory = shared_memory(self._shared_bytes if nearby else 0, self._longest)
        session = NodeSession(self._exchange, stream, self._longest, memory, handler)
        await session.run(closing or self._closing)

    async def Describe(self, request: pb.DescribeRequest, context: Context) -> pb.NodeReport:  # noqa: N802
        """Say what the node is and how busy."""
        try:
            handler, _ = self._handler(context)
            return encode_report(self._with_socket(handler.report()))
        except AccessDenied as error:
            await self._abort(context, error)
        raise AssertionError  # an aborted call does not come here

    async def Watch(  # noqa: N802
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.NodeReport]:
        """Report at once, on every change of state, and every interval."""
        least, most, usual = _REPORT_SECONDS
        interval = min(max(request.interval_us / 1e6 or usual, least), most)
        try:
            handler, expires = self._handler(context)
            async for report in handler.reports(interval):
                if expires is not None and self._wall() >= expires:
                    return
                yield encode_report(self._with_socket(report))
        except AccessDenied as error:
            await self._abort(context, error)

    def _handler(self, context: Context) -> tuple[CallHandler, float | None]:
        """Return what takes the calls of whoever is at the other end, and until when.

        Raises:
            AccessDenied: Nobody who has a role here.
        """
        if self._access is None:
            return self._node, None
        peer = context.auth_context()
        given = dict(context.invocation_metadata() or ()).get("authorization", "")
        authorization = given if isinstance(given, str) else ""
        shown = Credentials(identities_of(peer), certificate_of(peer), authorization)
        visit = self._access.visit(shown)
        return GuardedNode(self._node, visit.guest), visit.expires

    @contextmanager
    def _until(self, expires: float | None) -> Iterator[asyncio.Event]:
        """Give what is set when all sessions have to end, or at some moment before."""
        if expires is None:
            yield self._closing
            return
        ending = asyncio.Event()
        timer = asyncio.get_running_loop().call_later(expires - self._wall(), ending.set)
        self._endings.add(ending)
        try:
            yield ending
        finally:
            self._endings.discard(ending)
            timer.cancel()

    def _with_socket(self, report: NodeReport) -> NodeReport:
        if not self.socket:
            return report
        return replace(report, socket=self.socket, machine=machine())

    def _call(self, request: pb.InvokeRequest, context: Context, *, stream: bool) -> Call:
        # A tool that sets no timeout in the message may have set one on the RPC.
        seconds = context.time_remaining() or DEFAULT_DEADLINE
        return self._exchange.call_of(request, seconds, stream=stream)

    @asynccontextmanager
    async def _answering(self, request: pb.InvokeRequest, context: Context) -> AsyncIterator[None]:
        """Turn whatever the block raises into a status; gRPC would send words of the exception.

        A handler that ends in CancelledError would even send nothing, and its caller would
        wait until the deadline.
        """
        try:
            yield
        except GeneratorExit:
            raise
        except (Exception, asyncio.CancelledError) as error:
            await self._abort(context, self._exchange.error_of(error, call_id_of(request)))
            raise

    async def _abort(self, context: Context, error: CallError) -> None:
        code, sentence, trailer = status_of(error)
        await context.abort(code, sentence, trailer)
