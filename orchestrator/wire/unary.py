"""The channel over plain gRPC: one RPC a call, the face that any gRPC tool can use."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from orchestrator.core.call import Call, Chunks, Reply, Timings
from orchestrator.core.errors import EndpointUnavailable, WireError
from orchestrator.core.report import NodeReport
from orchestrator.wire.guard import MAX_CALL_BYTES, let_out
from orchestrator.wire.messages import decode_payload, decode_report, decode_timings, encode_call
from orchestrator.wire.payloads import unpack
from orchestrator.wire.status import error_of
from policies.facts import Clearance
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import NodeStub

if TYPE_CHECKING:
    from protos.isthmus.v1.node_pb2_grpc import NodeAsyncStub  # known to type checkers alone

CONNECT_SECONDS = 2.0
"""How long a call waits for a connection before it goes elsewhere."""

_DESCRIBE_SECONDS = 2.0

# A frozen peer is found by `ping_timeout_ms`, a lost network by the keepalive; short backoffs
# make a healed connection come back soon. Retries are ours, so that they obey the Decision.
_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
]


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
    """

    def __init__(
        self,
        address: str,
        clearance: Clearance,
        credentials: grpc.ChannelCredentials | None = None,
        identity: str = "",
        max_bytes: int = MAX_CALL_BYTES,
    ) -> None:
        self._address = address
        self._clearance = clearance
        self._credentials = credentials
        self._options = [*_OPTIONS, *message_limits(max_bytes)]
        if identity:
            self._options.append(("grpc.ssl_target_name_override", identity))
        self._max_bytes = max_bytes
        self._channel: grpc.aio.Channel | None = None
        self._stub: NodeAsyncStub | None = None

    async def send(self, call: Call) -> Reply:
        """Send a call and return the answer; see `Channel.send`."""
        request = encode_call(call, let_out(call, self._clearance, self._max_bytes))
        stub = await self._connected(min(CONNECT_SECONDS, call.deadline.left()))
        if call.stream:
            timings: list[Timings] = []
            chunks = self._chunks(stub, request, call.deadline.left(), timings)
            return Reply(Chunks(chunks, lambda: timings[-1] if timings else Timings()))
        with self._failing():
            message = await stub.Invoke(request, timeout=call.deadline.left())
        return Reply(unpack(decode_payload(message.result)), decode_timings(message.timings))

    async def _chunks(
        self, stub: "NodeAsyncStub", request: pb.InvokeRequest, seconds: float, end: list[Timings]
    ) -> AsyncGenerator[Any, None]:
        rpc = stub.Stream(request, timeout=seconds)
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
            message = await stub.Describe(pb.DescribeRequest(), timeout=_DESCRIBE_SECONDS)
        return decode_report(message)

    async def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Follow the node's reports."""
        stub = await self._connected(CONNECT_SECONDS)
        rpc = stub.Watch(pb.WatchRequest(interval_us=int(interval * 1e6)))
        try:
            with self._failing():
                async for message in rpc:
                    yield decode_report(message)
        finally:
            rpc.cancel()

    async def aclose(self) -> None:
        """Close the channel; calls in flight end with EndpointUnavailable."""
        if self._channel is not None:
            await self._channel.close()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Turn the failures of an RPC into ours."""
        try:
            yield
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure, self._address) from None
        except asyncio.CancelledError:
            if not _is_cancelled():  # the channel was closed under the RPC
                raise EndpointUnavailable(f"{self._address} was closed", sent=True) from None
            raise

    async def _connected(self, seconds: float) -> "NodeAsyncStub":
        channel = await self.connected(seconds)
        self._stub = self._stub or NodeStub(channel)
        return self._stub

    async def connected(self, seconds: float) -> grpc.aio.Channel:
        """Return the channel once it is connected, so that a failure before is known as such.

        Raises:
            EndpointUnavailable: There is none in time; nothing was sent.
        """
        # Not in the constructor: a gRPC channel belongs to the loop it is made on.
        channel = self._channel = self._channel or self._open()
        try:
            async with asyncio.timeout(seconds):
                state = channel.get_state(try_to_connect=True)
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.SHUTDOWN:
                        raise EndpointUnavailable(f"the channel to {self._address} is closed")
                    await channel.wait_for_state_change(state)
                    state = channel.get_state(try_to_connect=True)
        except TimeoutError:
            raise EndpointUnavailable(
                f"no connection to {self._address}: is the node running there, and do both sides "
                f"agree on TLS? This side uses {self._security}"
            ) from None
        return channel

    @property
    def _security(self) -> str:
        if self._credentials is None:
            return "plaintext"
        return "TLS: does each side trust the other's certificate (ca, cert, identity)?"

    def _open(self) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._address, self._options)
        return grpc.aio.secure_channel(self._address, self._credentials, self._options)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
