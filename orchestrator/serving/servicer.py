"""The gRPC service of a node: the plain face, one RPC a call, and the way into sessions."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc

from orchestrator.core.call import Call, Chunks
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import CallError, WireError
from orchestrator.core.report import NodeReport
from orchestrator.core.spec import DEFAULT_DEADLINE
from orchestrator.serving.exchange import Exchange
from orchestrator.serving.node import Node
from orchestrator.serving.session import MessageStream, NodeSession
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

    Attributes:
        socket: The name of the socket that its reports tell to callers on this machine.
    """

    def __init__(
        self,
        node: Node,
        max_bytes: int,
        clock: Clock = time.monotonic,
        shared_bytes: int = SHARED_BYTES,
    ) -> None:
        self._shared_bytes = shared_bytes
        self.socket = ""
        self._node = node
        self._exchange = Exchange(node, max_bytes, clock)
        self._longest = longest_message(max_bytes)
        self._closing = asyncio.Event()

    def end_sessions(self) -> None:
        """End the sessions once what they have to say is said."""
        self._closing.set()

    async def Invoke(self, request: pb.InvokeRequest, context: Context) -> pb.InvokeReply:  # noqa: N802
        """Run a service once."""
        async with self._answering(request, context):
            return self._exchange.reply_of(
                await self._node.handle(self._call(request, context, stream=False))
            )
        raise AssertionError  # an aborted call does not come here

    async def Stream(  # noqa: N802
        self, request: pb.InvokeRequest, context: Context
    ) -> AsyncIterator[pb.StreamReply]:
        """Run a generator service and stream what it yields."""
        async with self._answering(request, context):
            reply = await self._node.handle(self._call(request, context, stream=True))
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
            await self.serve(context, nearby=is_local_peer(context.peer()))
        except asyncio.CancelledError:
            return  # cut by the caller or by the end of the server: nobody hears a status
        except WireError as error:
            # Its frames hold the message at fault, and gRPC holds it in a circle with its context.
            await self._abort(context, error.with_traceback(None))

    async def serve(self, stream: MessageStream, *, nearby: bool) -> None:
        """Carry a session to its end.

        Args:
            stream: Both directions of its stream.
            nearby: Whether the caller is on this machine.

        Raises:
            WireError: The caller's frames make no sense.
        """
        memory = shared_memory(self._shared_bytes if nearby else 0, self._longest)
        await NodeSession(self._exchange, stream, self._longest, memory).run(self._closing)

    async def Describe(self, request: pb.DescribeRequest, context: Context) -> pb.NodeReport:  # noqa: N802
        """Say what the node is and how busy."""
        return encode_report(self._with_socket(self._node.report()))

    async def Watch(  # noqa: N802
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.NodeReport]:
        """Report at once, on every change of state, and every interval."""
        least, most, usual = _REPORT_SECONDS
        interval = min(max(request.interval_us / 1e6 or usual, least), most)
        async for report in self._node.reports(interval):
            yield encode_report(self._with_socket(report))

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
