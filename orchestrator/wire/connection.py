"""Connections of gRPC: the options of both ends, and waiting until there is one."""

import asyncio

import grpc

from orchestrator.core.errors import EndpointUnavailable

CONNECT_SECONDS = 2.0
"""How long a call waits for a connection before it goes elsewhere."""

REPLACED = grpc.StatusCode.ALREADY_EXISTS
"""The status of an attached stream whose node has attached again."""

ACCEPTED = ("isthmus-attached", "yes")
"""The initial metadata of an attached stream whose node was accepted."""

Options = list[tuple[str, int | str]]
"""gRPC's options of one end."""

# A frozen peer is found by `ping_timeout_ms`, a lost network by the keepalive.
_ALIVE: Options = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.ping_timeout_ms", 5_000),
]

# Short backoffs make a healed connection come back soon. Retries are ours, so that they obey
# the Decision.
CLIENT_OPTIONS: Options = [
    *_ALIVE,
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
]
"""Of whoever dials."""

# Two processes on one port would share its calls unless told not to; clients ping every ten
# seconds.
_DIALLED: Options = [
    ("grpc.so_reuseport", 0),
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
]

# A limit on the streams of a connection keeps a flood of resets cheap.
NODE_OPTIONS: Options = [
    *_DIALLED,
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_concurrent_streams", 2048),
]
"""Of a node that is dialled."""

LISTEN_OPTIONS: Options = [*_DIALLED, *_ALIVE, ("grpc.max_concurrent_streams", 16)]
"""Of an orchestrator that nodes attach to; it asks them for signs of life, too."""


class Connection:
    """A connection to one address, made when it is first asked for; use it on one loop only.

    Args:
        address: Where to: "host:port" or "unix:/path".
        credentials: TLS; None is plaintext.
        options: gRPC's options.
        peer: What should be there, for errors.
    """

    def __init__(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None,
        options: Options,
        peer: str = "node",
    ) -> None:
        self._address = address
        self._credentials = credentials
        self._options = options
        self._peer = peer
        self._channel: grpc.aio.Channel | None = None

    async def ready(self, seconds: float) -> grpc.aio.Channel:
        """Return the channel once it is connected, so that a failure before is known as such.

        Raises:
            EndpointUnavailable: It is not in time; nothing was sent.
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
                f"no connection to {self._address}: is the {self._peer} running there, and do both "
                f"sides agree on TLS? This side uses {self._security}"
            ) from None
        return channel

    async def aclose(self) -> None:
        """Close the connection, and all that uses it."""
        if self._channel is not None:
            await self._channel.close()

    @property
    def _security(self) -> str:
        if self._credentials is None:
            return "plaintext"
        return "TLS: does each side trust the other's certificate (ca, cert, identity)?"

    def _open(self) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._address, self._options)
        return grpc.aio.secure_channel(self._address, self._credentials, self._options)
