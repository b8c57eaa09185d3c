import fcntl
import gc
import mmap
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import WireError
from orchestrator.wire.arena import Arena, OpenedArena

MIB = 2**20
SIZE = MIB
TICKET = struct.Struct("<Q16sII")


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena(SIZE)
    yield made
    made.close()


def put(arena: Arena, *pieces: bytes, skip: int = 0) -> int:
    place = arena.write(pieces, skip)
    assert place is not None
    return place


def counted() -> tuple[int, int]:
    """Return how many files and mappings this process has."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), Path("/proc/self/maps").read_text().count("isthmus")


def test_what_one_end_writes_the_other_reads_in_place(arena: Arena) -> None:
    opened = OpenedArena(arena.ticket)
    place = put(arena, b"one", b"two")
    view = opened.view(place, 6)
    assert view.tobytes() == b"onetwo"
    assert not view.flags.writeable
    arena._memory[place : place + 1] = b"O"
    assert view.tobytes() == b"Onetwo"  # the positive control: it is the same memory


def test_another_process_reads_it_too(arena: Arena) -> None:
    place = put(arena, b"a body")
    code = (
        "import sys; from orchestrator.wire.arena import OpenedArena\n"
        f"opened = OpenedArena(bytes.fromhex('{arena.ticket.hex()}'))\n"
        f"print(opened.view({place}, 6).tobytes())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "b'a body'\n"


@pytest.mark.parametrize("skip", [0, 1, 15, 16, 63, 64, 65])
def test_what_follows_the_skipped_bytes_is_aligned(arena: Arena, skip: int) -> None:
    put(arena, b"before")
    place = put(arena, bytes(skip), b"data", skip=skip)
    view = OpenedArena(arena.ticket).view(place + skip, 4)
    assert view.tobytes() == b"data"
    assert view.ctypes.data % 64 == 0
    arena.free(place)


def test_a_full_arena_takes_nothing_until_something_is_freed(arena: Arena) -> None:
    first = put(arena, bytes(SIZE - 4096))
    assert arena.write([bytes(5000)]) is None
    arena.free(first)
    put(arena, bytes(5000))


@given(st.integers(0, 2**32))
def test_no_two_bodies_overlap_and_everything_can_be_freed(seed: int) -> None:
    source, arena = random.Random(seed), Arena(SIZE)
    opened = OpenedArena(arena.ticket)
    held: dict[int, bytes] = {}
    for _ in range(60):
        if held and source.random() < 0.45:
            place = source.choice(list(held))
            body = held.pop(place)
            assert opened.view(place, len(body)).tobytes() == body
            arena.free(place)
        else:
            body = source.randbytes(source.choice([1, 63, 64, 65, 1000, 100_000]))
            skip = source.randrange(min(len(body), 16))
            if (place := arena.write([body], skip)) is not None:  # type: ignore[assignment]
                held[place] = body
    for place, body in held.items():
        assert opened.view(place, len(body)).tobytes() == body
        arena.free(place)
    put(arena, bytes(SIZE - 64))  # in one piece again
    arena.close()


@pytest.mark.parametrize("wrong", [0, 64, 10**6, 2**63])
def test_what_is_not_in_use_cannot_be_freed(arena: Arena, wrong: int) -> None:
    place = put(arena, b"x")
    arena.free(place)
    with pytest.raises(WireError):
        arena.free(wrong)
    with pytest.raises(WireError):
        arena.free(place)


@pytest.mark.parametrize(
    ("place", "length"),
    [(0, 4), (63, 1), (64, 0), (64, SIZE), (SIZE, 1), (2**64 - 1, 1), (64, 2**64 - 1)],
)
def test_nothing_outside_of_the_memory_is_read(arena: Arena, place: int, length: int) -> None:
    opened = OpenedArena(arena.ticket)
    assert len(opened.view(64, SIZE - 64)) == SIZE - 64  # the positive control
    with pytest.raises(WireError):
        opened.view(place, length)


def test_a_view_outlives_both_ends(arena: Arena) -> None:
    opened = OpenedArena(arena.ticket)
    view = opened.view(put(arena, b"stays"), 5)
    arena.close()
    del opened
    assert view.tobytes() == b"stays"
    arena = Arena(SIZE)


def test_nobody_can_cut_it_short_under_a_reader(arena: Arena) -> None:
    with (
        open(f"/proc/self/fd/{arena._file.fileno()}", "r+b") as file,
        pytest.raises(PermissionError),
    ):
        file.truncate(10)


def test_it_is_for_this_user_alone(arena: Arena) -> None:
    assert os.fstat(arena._file.fileno()).st_mode & 0o777 == 0o600


def test_nothing_stands_in_any_folder(arena: Arena) -> None:
    put(arena, bytes(1000))
    assert [name for name in os.listdir("/dev/shm") if "isthmus" in name] == []


def test_memory_is_taken_when_it_is_used_and_most_of_it_given_back_when_empty() -> None:
    arena = Arena(1024 * MIB)

    def used() -> int:
        return os.fstat(arena._file.fileno()).st_blocks * 512

    assert used() <= 4096
    first, second = put(arena, bytes(100 * MIB)), put(arena, bytes(50 * MIB))
    assert used() >= 150 * MIB
    arena.free(first)
    assert used() >= 150 * MIB
    arena.free(second)
    assert used() <= 64 * MIB + 4096
    arena.close()


def test_open_and_closed_ends_leave_no_file_and_no_mapping() -> None:
    before = counted()
    for _ in range(20):
        arena = Arena(SIZE)
        opened = OpenedArena(arena.ticket)
        view = opened.view(put(arena, b"x"), 1)
        arena.close()
    assert counted() != before  # the positive control: the last view is still there
    del opened, view
    assert counted() == before


# Tickets of a stranger


def ticket(size: int, nonce: bytes, process: int, number: int) -> bytes:
    return TICKET.pack(size, nonce, process, number)


def test_a_ticket_of_another_length_is_a_wire_error(arena: Arena) -> None:
    for wrong in (b"x", arena.ticket[:-1], arena.ticket + b"x"):
        with pytest.raises(WireError):
            OpenedArena(wrong)


def test_who_does_not_know_the_nonce_opens_nothing(arena: Arena) -> None:
    size, nonce, process, number = TICKET.unpack(arena.ticket)
    OpenedArena(ticket(size, nonce, process, number))  # the positive control
    with pytest.raises(OSError, match="fd"):
        OpenedArena(ticket(size, bytes(16), process, number))


@pytest.mark.parametrize("size", [0, SIZE - 1, SIZE + 4096, 2**31, 2**63, 2**64 - 1])
def test_another_size_than_it_says_is_a_wire_error(arena: Arena, size: int) -> None:
    _, nonce, process, number = TICKET.unpack(arena.ticket)
    with pytest.raises(WireError):
        OpenedArena(ticket(size, nonce, process, number))


def test_a_file_of_another_kind_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(bytes(4096))
    for name, flags in (("pipe", os.O_RDWR), ("file", os.O_RDONLY)):
        number = os.open(tmp_path / name, flags)
        with pytest.raises(OSError, match="fd"):
            OpenedArena(ticket(4096, bytes(16), os.getpid(), number))
        os.close(number)
    with pytest.raises(OSError, match="No such file"):
        OpenedArena(ticket(4096, bytes(16), 2**31 - 1, 3))


def test_memory_that_could_be_cut_short_is_refused() -> None:
    number = os.memfd_create("isthmus", os.MFD_ALLOW_SEALING)
    os.ftruncate(number, 4096)
    with mmap.mmap(number, 4096) as memory:
        memory[:16] = bytes(16)
    said = ticket(4096, bytes(16), os.getpid(), number)
    before = counted()
    with pytest.raises(WireError):
        OpenedArena(said)
    assert counted() == before
    fcntl.fcntl(number, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    assert isinstance(OpenedArena(said).view(64, 1), np.ndarray)  # the positive control
    os.close(number)


def test_once_opened_nobody_else_can_open_it(arena: Arena) -> None:
    OpenedArena(arena.ticket)
    arena.opened()
    with pytest.raises(OSError, match="."):
        OpenedArena(arena.ticket)
