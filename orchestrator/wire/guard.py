"""The one door to every channel: no call passes to a place its label is too high for."""

from typing import Protocol

import numpy as np

from orchestrator.core.call import Call
from orchestrator.core.errors import InvalidInput, PrivacyRefused
from orchestrator.wire.payloads import Packed, pack
from policies.facts import Clearance, Level

MAX_CALL_BYTES = 80 * 1024 * 1024
"""The most that one call may carry, by default."""


class Scanner(Protocol):
    """Looks at the bytes of a call on their way to a place that is cleared for public data only."""

    def find(self, data: bytes | memoryview) -> str | None:
        """Return the name of what may not leave, if it stands in the bytes."""


def let_out(
    call: Call,
    clearance: Clearance,
    max_bytes: int = MAX_CALL_BYTES,
    scanner: Scanner | None = None,
) -> Packed:
    """Return a call's arguments packed for a channel, if they may go there.

    Args:
        call: The call.
        clearance: The most private data that the place behind the channel may receive.
        max_bytes: The most that one call may carry.
        scanner: Looks at what goes to a place whose clearance is below internal.

    Raises:
        PrivacyRefused: The label is above the clearance, or the call carries a value with a
            label above its own, or the scanner found something, or one of them cannot be read.
        InvalidInput: The arguments are too large or cannot travel.
    """
    try:
        allowed = clearance.covers(call.label)
    except Exception as error:
        kind = type(error).__name__
        raise PrivacyRefused(
            f"the call's label or the clearance there cannot be read ({kind})", call_id=call.id
        ) from None
    if allowed is not True:
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
    if scanner is not None and clearance.level < Level.INTERNAL:
        _scan(packed, scanner, call.id)
    return packed


def _scan(packed: Packed, scanner: Scanner, call_id: str) -> None:
    """Raise PrivacyRefused if a scanner finds something, or cannot look."""
    try:
        parts = (p.tobytes() if isinstance(p, np.ndarray) else p for p in packed.attachments)
        found = next(filter(None, map(scanner.find, (packed.json, *parts))), None)
    except Exception as error:  # its words may hold what it looked at
        found = f"nothing, for it failed ({type(error).__name__})"
    if found is not None:
        raise PrivacyRefused(
            f"the scanner of calls to public places found {found}: label that data, or take it "
            "out of the call",
            call_id=call_id,
        )


def check_size(packed: Packed, max_bytes: int) -> None:
    """Raise InvalidInput if a packed value is larger than a channel carries."""
    if packed.size > max_bytes:
        raise InvalidInput(
            f"{packed.size / 2**20:.1f} MiB are more than the {max_bytes / 2**20:.0f} MiB that one "
            "call may carry: send less at once, or raise max_call_mib on both sides",
            shareable=True,
        )
