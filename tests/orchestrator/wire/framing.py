"""What the tests of frames share: frames of all kinds, and what working on them holds."""

import tracemalloc
from collections.abc import Callable

from hypothesis import strategies as st

from orchestrator.wire.frames import Kind, encode_frame, encode_message

HEADER = len(encode_frame(Kind.CALL, 1))
numbers = st.integers(0, 2**64 - 1)
frames = st.tuples(st.sampled_from(Kind), numbers, st.binary(max_size=200))
ABOUT_MEMORY = {Kind.SHARE, Kind.SHARED, Kind.RELEASE}
whole_frames = st.tuples(
    st.sampled_from(sorted(set(Kind) - ABOUT_MEMORY - {Kind.PART})),
    numbers,
    st.binary(max_size=200),
)


def message(*parts: tuple[Kind, int, bytes]) -> bytes:
    return encode_message(encode_frame(*part) for part in parts)


def wrapped(frames: bytes) -> bytes:
    """Return the bytes of frames as a message."""
    return encode_message([frames])


def taken(work: Callable[[], object]) -> int:
    """Return the most bytes that some work held."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
