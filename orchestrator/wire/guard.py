"""The one door to every channel: no call passes to a place its label is too high for."""

from orchestrator.core.call import Call
from orchestrator.core.errors import InvalidInput, PrivacyRefused
from orchestrator.wire.payloads import Packed, pack
from policies.facts import Clearance

MAX_CALL_BYTES = 80 * 1024 * 1024
"""The most that one call may carry, by default."""


def let_out(call: Call, clearance: Clearance, max_bytes: int = MAX_CALL_BYTES) -> Packed:
    """Return a call's arguments packed for a channel, if they may go there.

    Args:
        call: The call.
        clearance: The most private data that the place behind the channel may receive.
        max_bytes: The most that one call may carry.

    Raises:
        PrivacyRefused: The label is above the clearance, or the call carries a value with a
            label above its own.
        InvalidInput: The arguments are too large or cannot travel.
    """
    if not clearance.covers(call.label):
        raise PrivacyRefused(
            f"label {call.label} of the call is above clearance {clearance}", call_id=call.id
        )
    packed: Packed = call.packed or pack(call.arguments)
    if not call.label.covers(packed.label):
        raise PrivacyRefused(
            f"the call is labelled {call.label} and carries a value labelled {packed.label}",
            call_id=call.id,
        )
    check_size(packed, max_bytes)
    return packed


def check_size(packed: Packed, max_bytes: int) -> None:
    """Raise InvalidInput if a packed value is larger than a channel carries."""
    if packed.size > max_bytes:
        raise InvalidInput(
            f"{packed.size / 2**20:.1f} MiB are more than the {max_bytes / 2**20:.0f} MiB that one "
            "call may carry: send less at once, or raise max_call_mib on both sides",
            shareable=True,
        )
