"""What both faces of a node share: messages to calls, values to payloads, failures to errors."""

import asyncio
import logging
import time

from orchestrator.core.call import Call, Reply
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import CallError, Cancelled, WireError
from orchestrator.core.spec import DEFAULT_DEADLINE
from orchestrator.serving.failures import frames_of
from orchestrator.serving.node import Node
from orchestrator.wire import bodies
from orchestrator.wire.assembler import Budget
from orchestrator.wire.frames import BESIDE_BYTES
from orchestrator.wire.guard import check_size
from orchestrator.wire.messages import decode_call, encode_payload, encode_timings
from orchestrator.wire.payloads import Packed, pack
from protos.isthmus.v1 import node_pb2 as pb

_BODIES = 8
"""How many of the largest bodies may be under way at once, in all sessions together."""

_log = logging.getLogger("isthmus.node")


class Exchange:
    """Translates between the messages of the wire and the calls of one node.

    Args:
        node: The node.
        max_bytes: The most that the arguments or the result of a call may carry.
        clock: The node's clock.
    """

    def __init__(self, node: Node, max_bytes: int, clock: Clock = time.monotonic) -> None:
        self.node = node
        self._max_bytes = max_bytes
        self._clock = clock
        self.budget = Budget(_BODIES * (max_bytes + BESIDE_BYTES))
        """What the bodies under way in all sessions of the node may take together."""

    def call_of(self, request: pb.InvokeRequest, seconds: float, *, stream: bool) -> Call:
        """Return a message as a call.

        Args:
            request: The message.
            seconds: How long it may take if it does not say.
            stream: Whether its answer is a stream.

        Raises:
            CallError: It makes no sense, or is too large.
        """
        if not request.service:
            raise WireError("a message names no service")
        return decode_call(request, self.node.tier, stream, seconds, self._clock, self._max_bytes)

    def call_in(self, body: bytes, *, stream: bool) -> Call:
        """Return the body of a frame as a call; raise CallError as `call_of` does."""
        return bodies.decode_call(
            body, self.node.tier, stream, DEFAULT_DEADLINE, self._clock, self._max_bytes
        )

    def packed(self, value: object) -> Packed:
        """Return a result ready for the wire; raise InvalidInput if it is too large."""
        packed = pack(value)
        check_size(packed, self._max_bytes)
        return packed

    def reply_of(self, reply: Reply) -> pb.InvokeReply:
        """Return an answer as a message; raise InvalidInput if it is too large."""
        message = pb.InvokeReply(timings=encode_timings(reply.timings))
        encode_payload(self.packed(reply.value), message.result)
        return message

    def error_of(self, error: BaseException, call_id: str) -> CallError:
        """Return what a caller may hear of a failure, naming node and call."""
        ours = self._ours(error)
        ours.node = ours.node or self.node.name
        ours.call_id = ours.call_id or call_id
        return ours

    def _ours(self, error: BaseException) -> CallError:
        if isinstance(error, CallError):
            return error
        if isinstance(error, asyncio.CancelledError):
            return Cancelled()
        kind = type(error).__name__
        _log.error("a call failed in the node itself: %s at %s", kind, frames_of(error))
        return WireError()
