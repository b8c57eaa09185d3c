"""The plain gRPC face of a node: bytes to a Call, a Reply to bytes, errors to statuses."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from orchestrator.core.call import Call, Chunks
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import CallError, Cancelled, WireError
from orchestrator.core.spec import DEFAULT_DEADLINE
from orchestrator.serving.failures import frames_of
from orchestrator.serving.node import Node
from orchestrator.wire.guard import check_size
from orchestrator.wire.messages import call_id_of, decode_call, encode_report, encode_timings
from orchestrator.wire.payloads import encode, pack
from orchestrator.wire.status import status_of
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import NodeServicer as GeneratedServicer

_log = logging.getLogger("isthmus.node")

_REPORT_SECONDS = (0.05, 60.0, 1.0)
"""The shortest and the longest interval of reports that is granted, and the usual one."""

Context = grpc.aio.ServicerContext[Any, Any]


class NodeServicer(GeneratedServicer):
    """Serves a node over gRPC.

    Args:
        node: The node.
        max_bytes: The most that the arguments or the result of a call may carry.
        clock: The node's clock.
    """

    def __init__(self, node: Node, max_bytes: int, clock: Clock = time.monotonic) -> None:
        self._node = node
        self._max_bytes = max_bytes
        self._clock = clock

    async def Invoke(self, request: pb.InvokeRequest, context: Context) -> pb.InvokeReply:  # noqa: N802
        """Run a service once."""
        async with self._answering(request, context):
            reply = await self._node.handle(self._call(request, context, stream=False))
            return pb.InvokeReply(
                result=self._encode(reply.value), timings=encode_timings(reply.timings)
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
                    yield pb.StreamReply(chunk=self._encode(chunk))
            finally:
                await chunks.aclose()
            yield pb.StreamReply(end=encode_timings(chunks.timings))

    async def Describe(self, request: pb.DescribeRequest, context: Context) -> pb.NodeReport:  # noqa: N802
        """Say what the node is and how busy."""
        return encode_report(self._node.report())

    async def Watch(  # noqa: N802
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.NodeReport]:
        """Report at once, on every change of state, and every interval."""
        least, most, usual = _REPORT_SECONDS
        interval = min(max(request.interval_us / 1e6 or usual, least), most)
        async for report in self._node.reports(interval):
            yield encode_report(report)

    def _call(self, request: pb.InvokeRequest, context: Context, *, stream: bool) -> Call:
        # A tool that sets no timeout in the message may have set one on the RPC.
        seconds = context.time_remaining() or DEFAULT_DEADLINE
        call = decode_call(request, self._node.tier, stream, seconds, self._clock)
        if request.ByteSize() > self._max_bytes:  # measured as its caller does: JSON is longer
            check_size(pack(call.arguments), self._max_bytes)
        return call

    def _encode(self, value: Any) -> pb.Payload:
        packed = pack(value)
        check_size(packed, self._max_bytes)
        return encode(packed)

    @asynccontextmanager
    async def _answering(self, request: pb.InvokeRequest, context: Context) -> AsyncIterator[None]:
        """Turn whatever the block raises into a status; gRPC would send words of the exception.

        A handler that ends in CancelledError would even send nothing, and its caller would
        wait until the deadline.
        """
        try:
            yield
        except CallError as error:
            await self._abort(request, context, error)
        except asyncio.CancelledError:
            await self._abort(request, context, Cancelled())
            raise
        except GeneratorExit:
            raise
        except Exception as error:
            kind = type(error).__name__
            _log.error("a call failed in the node itself: %s at %s", kind, frames_of(error))
            await self._abort(request, context, WireError())

    async def _abort(self, request: pb.InvokeRequest, context: Context, error: CallError) -> None:
        error.node = error.node or self._node.name
        error.call_id = error.call_id or call_id_of(request)
        code, sentence, trailer = status_of(error)
        await context.abort(code, sentence, trailer)
