"""The channel over plain gRPC: one RPC a call, the face that any gRPC tool can use."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from orchestrator.core.call import Call, Chunks, Reply, Timings
from orchestrator.core.errors import EndpointUnavailable, WireError
from orchestrator.core.report import NodeReport
from orchestrator.wire.connection import CLIENT_OPTIONS, CONNECT_SECONDS, Connection
from orchestrator.wire.frames import SESSION
from orchestrator.wire.guard import MAX_CALL_BYTES, Scanner, let_out
from orchestrator.wire.messages import decode_payload, decode_report, decode_timings, encode_call
from orchestrator.wire.payloads import unpack
from orchestrator.wire.session import MessageStream
from orchestrator.wire.status import error_of
from policies.facts import Clearance
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import NodeStub

if TYPE_CHECKING:
    from protos.isthmus.v1.node_pb2_grpc import NodeAsyncStub  # known to type checkers alone

_DESCRIBE_SECONDS = 2.0


def longest_message(max_bytes: int) -> int:
    """Return how long the message of a call of that size may be."""
    return max_bytes + 2**20  # an envelope surrounds it


def message_limits(max_bytes: int) -> list[tuple[str, int]]:
    """Return the gRPC options that let calls of this size pass."""
    limit = longest_message(max_bytes)
    return [("grpc.max_send_message_length", limit), ("grpc.max_receive_message_length", limit)]


class UnaryChannel:
    """Sends calls to a node as single RPCs; use it on one event loop only.

    Args:
        address: Where the node listens: "host:port" or "unix:/path".
        clearance: The most private data it may receive.
        credentials: TLS; None is plaintext.
        identity: The name its certificate must bear, if not the host of the address.
        max_bytes: The most that one call may carry.
        scanner: Looks at what goes to a public place; see `let_out`.
        token: Shown with every RPC; empty is none.
    """

    def __init__(
        self,
        address: str,
        clearance: Clearance,
        credentials: grpc.ChannelCredentials | None = None,
        identity: str = "",
        max_bytes: int = MAX_CALL_BYTES,
        scanner: Scanner | None = None,
        token: str = "",
    ) -> None:
        self._shown = (("authorization", f"Bearer {token}"),) if token else None
        self._address = address
        self._clearance = clearance
        options = [*CLIENT_OPTIONS, *message_limits(max_bytes)]
        if identity:
            options.append(("grpc.ssl_target_name_override", identity))
        self._connection = Connection(address, credentials, options)
        self._max_bytes = max_bytes
        self._scanner = scanner
        self._stub: NodeAsyncStub | None = None

    async def send(self, call: Call) -> Reply:
        """Send a call and return the answer; see `Channel.send`."""
        packed = let_out(call, self._clearance, self._max_bytes, self._scanner)
        request = encode_call(call, packed)
        stub = await self._connected(min(CONNECT_SECONDS, call.deadline.left()))
        if call.stream:
            timings: list[Timings] = []
            chunks = self._chunks(stub, request, call.deadline.left(), timings)
            return Reply(Chunks(chunks, lambda: timings[-1] if timings else Timings()))
        with self._failing():
            message = await stub.Invoke(request, timeout=call.deadline.left(), metadata=self._shown)
        return Reply(unpack(decode_payload(message.result)), decode_timings(message.timings))

    async def _chunks(
        self, stub: "NodeAsyncStub", request: pb.InvokeRequest, seconds: float, end: list[Timings]
    ) -> AsyncGenerator[Any, None]:
        rpc = stub.Stream(request, timeout=seconds, metadata=self._shown)
        try:
            with self._failing():
                async for message in rpc:
                    if message.WhichOneof("kind") == "end":
                        end.append(decode_timings(message.end))
                    else:
                        yield unpack(decode_payload(message.chunk))
        finally:
            rpc.cancel()  # gRPC never collects a stream that was left half read
        if not end:
            raise WireError(f"{self._address}: the stream ended without its last message")

    async def describe(self) -> NodeReport:
        """Ask the node what it is and how busy."""
        stub = await self._connected(CONNECT_SECONDS)
        with self._failing():
            message = await stub.Describe(
                pb.DescribeRequest(), timeout=_DESCRIBE_SECONDS, metadata=self._shown
            )
        return decode_report(message)

    async def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Follow the node's reports."""
        stub = await self._connected(CONNECT_SECONDS)
        request = pb.WatchRequest(interval_us=int(interval * 1e6))
        rpc = stub.Watch(request, metadata=self._shown)
        try:
            with self._failing():
                async for message in rpc:
                    yield decode_report(message)
        finally:
            rpc.cancel()

    async def aclose(self) -> None:
        """Close the channel; calls in flight end with EndpointUnavailable."""
        await self._connection.aclose()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Turn the failures of an RPC into ours."""
        try:
            yield
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure, self._address) from None
        except asyncio.CancelledError:
            if not is_cancelled():  # the channel was closed under the RPC
                raise EndpointUnavailable(f"{self._address} was closed", sent=True) from None
            raise

    async def opener(self, seconds: float) -> Callable[[], MessageStream]:
        """Return what opens the stream of a session; see `Link.opener`."""
        channel = await self._connection.ready(seconds)
        # The messages are written and read by hand: protobuf would copy each one twice more.
        opener: Any = channel.stream_stream(SESSION)
        return partial(opener, metadata=self._shown)

    async def _connected(self, seconds: float) -> "NodeAsyncStub":
        channel = await self._connection.ready(seconds)
        self._stub = self._stub or NodeStub(channel)
        return self._stub


def is_cancelled() -> bool:
    """Say whether the running task itself is cancelled, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
