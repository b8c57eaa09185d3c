import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.core.errors import SettingsError
from orchestrator.telemetry.audit.anchor import read_anchor
from orchestrator.telemetry.audit.entries import Head, seal
from orchestrator.telemetry.audit.log import AuditPlace
from orchestrator.telemetry.audit.verify import Finding, verify

Write = Callable[[int], list[bytes]]
Spoil = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def found(write: Write, place: AuditPlace) -> Callable[..., Finding]:
    """Says what is found in a log of ten entries after somebody has spoiled it."""

    def found(spoil: Spoil, *, anchored: bool = False) -> Finding:
        place.path.write_bytes(b"".join(spoil(write(10))))
        assert place.anchor
        return verify(place.path, read_anchor(place.anchor) if anchored else None)

    return found


def written_anew(lines: list[bytes], first: int, **changes: str) -> list[bytes]:
    """Return a chain that is right again from an entry on that was changed."""
    known = json.loads(lines[first - 2]) if first > 1 else None
    head = Head(known["seq"], known["hash"]) if known else Head()
    kept = lines[: first - 1]
    for line in lines[first - 1 :]:
        facts = json.loads(line)
        time, _ = facts.pop("time"), (facts.pop("previous"), facts.pop("seq"), facts.pop("hash"))
        sealed, head = seal(facts | changes, time, head)
        kept.append(sealed)
        changes = {}
    return kept


def test_a_log_that_nobody_touched_is_whole(found: Callable[..., Finding]) -> None:
    finding = found(lambda lines: lines, anchored=True)
    assert (finding.problem, finding.head.seq, finding.entry) == ("", 10, 0)


@pytest.mark.parametrize("anchored", [True, False])
@pytest.mark.parametrize(
    ("spoil", "problem", "entry"),
    [
        (lambda x: [*x[:3], x[3].replace(b"privacy", b"prIvacy"), *x[4:]], "changed", 4),
        (lambda x: [*x[:3], x[3].replace(b'"seq":4', b'"seq":5'), *x[4:]], "changed", 4),
        (lambda x: [b"\n", *x], "changed", 1),
        (lambda x: [*x[:5], b"rubbish\n", *x[5:]], "changed", 6),
        (lambda x: x[1:], "removed", 1),
        (lambda x: [*x[:4], *x[5:]], "removed", 5),
        (lambda x: [*x[:4], *x[7:]], "removed", 5),
        (lambda x: [*x[:2], x[3], x[2], *x[4:]], "reordered", 3),
        (lambda x: list(reversed(x)), "reordered", 1),
        (lambda x: [*x[:5], x[4], *x[5:]], "reordered", 6),
        (lambda x: [*x[:3], written_anew(x[:4], 4, service="other")[3], *x[4:]], "replaced", 5),
    ],
)
def test_the_chain_shows_every_change_by_itself(
    found: Callable[..., Finding], spoil: Spoil, problem: str, entry: int, anchored: bool
) -> None:
    finding = found(spoil, anchored=anchored)
    assert (finding.problem, finding.entry) == (problem, entry)
    assert finding.head.seq == entry - 1
    assert str(entry) in finding.detail


@pytest.mark.parametrize(
    ("spoil", "problem", "entry"),
    [
        (lambda x: x[:9], "truncated", 10),
        (lambda x: x[:1], "truncated", 2),
        (lambda x: [], "truncated", 1),
        (lambda x: written_anew(x, 4, service="other"), "replaced", 10),
    ],
)
def test_a_cut_end_and_a_new_chain_show_by_the_anchor_alone(
    found: Callable[..., Finding], spoil: Spoil, problem: str, entry: int
) -> None:
    finding = found(spoil, anchored=True)
    assert (finding.problem, finding.entry) == (problem, entry)


@pytest.mark.parametrize("spoil", [lambda x: x[:9], lambda x: written_anew(x, 4, service="other")])
def test_without_the_anchor_they_do_not(found: Callable[..., Finding], spoil: Spoil) -> None:
    assert found(spoil).problem == ""


def test_whatever_is_done_to_some_lines_shows(write: Write, place: AuditPlace) -> None:
    lines, dice = write(30), random.Random(11)
    for _ in range(300):
        spoiled = list(lines)
        first, second = sorted(dice.sample(range(29), 2))  # the end is the anchor's to guard
        match dice.randrange(3):
            case 0:
                del spoiled[first]
            case 1:
                spoiled[first], spoiled[second] = spoiled[second], spoiled[first]
            case _:
                line, at = bytearray(spoiled[first]), dice.randrange(len(spoiled[first]) - 1)
                line[at] ^= 1 << dice.randrange(7)
                spoiled[first] = bytes(line)
        place.path.write_bytes(b"".join(spoiled))
        assert verify(place.path).problem, spoiled
    place.path.write_bytes(b"".join(lines))  # the control
    assert verify(place.path).problem == ""


def test_an_unfinished_last_line_is_told_and_is_no_fault(
    found: Callable[..., Finding],
) -> None:
    finding = found(lambda lines: [*lines, b'{"call"'], anchored=True)
    assert (finding.problem, finding.unfinished, finding.head.seq) == ("", 7, 10)


def test_progress_is_told_in_bytes(write: Write, place: AuditPlace) -> None:
    write(10)
    told: list[int] = []
    verify(place.path, told=told.append)
    assert sum(told) == place.path.stat().st_size


def test_a_log_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        verify(tmp_path / "audit.log")
