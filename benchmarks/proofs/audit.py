"""The audit log: writers are killed, files are spoiled, and group commit takes its turns."""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.proofs.report import Check, Outcome, Progress, no_progress
from orchestrator.core.audit import Refused, kept
from orchestrator.core.deadline import Deadline
from orchestrator.telemetry.audit.anchor import read_anchor
from orchestrator.telemetry.audit.file import LogFile
from orchestrator.telemetry.audit.log import AuditLog, AuditPlace, open_audit
from orchestrator.telemetry.audit.verify import verify

FULL_KILLS = 100
FULL_ROUNDS = 7
SECONDS = 1.0
WAITING = 64
_SPOILED_ENTRIES = 40
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Killed:
    """What kills left.

    Attributes:
        promised: Entries that a writer was told are safe.
        lost: Those of them that the log does not hold.
        problem: What is wrong with the log; empty if nothing is.
        entries: Entries in the log.
    """

    promised: int
    lost: int
    problem: str
    entries: int


@dataclass(frozen=True, slots=True)
class Speed:
    """What one turn of writing reached.

    Attributes:
        rate: Entries a second.
        p50_ms: How long the median entry took to be safe.
        p99_ms: The same for the slowest hundredth.
        grouped: Entries of one fsync.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    grouped: float


def kill_writers(
    folder: Path, kills: int, dice: random.Random, told: Progress, *, early: bool = False
) -> Killed:
    """Kill one writer of the same log after the other, each at any moment."""
    log, anchor, promised = folder / "audit.log", folder / "anchor.json", folder / "promised.txt"
    for run in range(kills):
        with promised.open("ab") as out:
            before = out.tell()
            command = [sys.executable, "-m", "benchmarks.proofs.audit_writer"]
            command += [str(log), str(anchor), str(run), *(["--early"] if early else [])]
            writer = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE)
            until = time.monotonic() + _START_SECONDS
            while promised.stat().st_size == before and writer.poll() is None:
                if time.monotonic() > until:
                    break
                time.sleep(0.002)
            time.sleep(dice.uniform(0.0, 0.3))
            writer.kill()
            _, said = writer.communicate()
        if said:
            return Killed(0, 0, said.decode(errors="replace")[-300:], 0)
        told(1)
    names = set(promised.read_text().split())
    with open_audit(AuditPlace(log, anchor=anchor)):
        pass  # mends what the last kill left
    found = verify(log, read_anchor(anchor))
    held = {json.loads(line).get("service") for line in log.read_text().splitlines()}
    return Killed(len(names), len(names - held), found.detail, found.head.seq)


def spoil(folder: Path, times: int, dice: random.Random) -> tuple[int, int, int]:
    """Spoil a log in ways of chance; return how many changes, and how many cuts, were seen.

    Returns:
        Changes, removals and reorderings that the chain showed; cut ends that it showed; cut
        ends that the anchor showed.
    """
    place = AuditPlace(folder / "audit.log", anchor=folder / "anchor.json")
    with open_audit(place) as log:
        for number in range(_SPOILED_ENTRIES):
            log.record(Refused(service=f"s{number}", rule="proof"))
    lines, anchored = (
        place.path.read_bytes().splitlines(keepends=True),
        read_anchor(folder / "anchor.json"),
    )
    seen = cut_by_chain = cut_by_anchor = 0
    for _ in range(times):
        place.path.write_bytes(b"".join(_spoiled(lines, dice)))
        seen += bool(verify(place.path).problem)
        place.path.write_bytes(b"".join(lines[: dice.randrange(len(lines))]))
        cut_by_chain += bool(verify(place.path).problem)
        cut_by_anchor += verify(place.path, anchored).problem == "truncated"
    return seen, cut_by_chain, cut_by_anchor


def _spoiled(lines: list[bytes], dice: random.Random) -> list[bytes]:
    spoiled = list(lines)
    one, other = sorted(dice.sample(range(len(lines) - 1), 2))
    match dice.randrange(3):
        case 0:
            del spoiled[one:other]
        case 1:
            spoiled[one], spoiled[other] = spoiled[other], spoiled[one]
        case _:
            line = bytearray(lines[one])
            line[dice.randrange(len(line) - 1)] ^= 1 << dice.randrange(7)
            spoiled[one] = bytes(line)
    return spoiled


async def write_for(folder: Path, seconds: float, waiting: int, group: int) -> Speed:
    """Let many wait for their entries at once, and measure from the waiter's side.

    Args:
        folder: Where the log goes; a new one each time.
        seconds: How long.
        waiting: How many wait at once.
        group: The most entries of one fsync.
    """
    path = Path(tempfile.mkdtemp(dir=folder)) / "audit.log"
    waits: list[float] = []
    with AuditLog(LogFile(path), b"k" * 32, AuditPlace(path), group=group) as log:
        end = time.perf_counter() + seconds

        async def write() -> None:
            while (began := time.perf_counter()) < end:
                await kept(log, Refused(service="embed", rule="proof"), Deadline.after(60))
                waits.append(time.perf_counter() - began)

        await asyncio.gather(*(write() for _ in range(waiting)))
        grouped = log.commits.entries / log.commits.commits
    waits.sort()
    rate = len(waits) / seconds
    return Speed(rate, median(waits) * 1e3, waits[int(len(waits) * 0.99)] * 1e3, grouped)


async def race(folder: Path, rounds: int, seconds: float, told: Progress) -> dict[str, list[Speed]]:
    """Let one fsync for all, one for each entry, and one that waits alone take turns."""
    ways = {"group": (WAITING, 1024), "each": (WAITING, 1), "alone": (1, 1024)}
    speeds: dict[str, list[Speed]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (waiting, group) in ways.items():
            speeds[name].append(await write_for(folder, seconds, waiting, group))
        told(1)
    return speeds


async def prove(
    kills: int = FULL_KILLS,
    rounds: int = FULL_ROUNDS,
    seconds: float = SECONDS,
    seed: int = 1,
    progress: Progress = no_progress,
) -> Outcome:
    """Kill, spoil and measure, and say what held."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folders = {part: Path(name) / part for part in ("kills", "early", "spoil", "race")}
        for folder in folders.values():
            folder.mkdir()
        killed = await asyncio.to_thread(kill_writers, folders["kills"], kills, dice, progress)
        early_kills = max(kills // 10, 3)
        early = await asyncio.to_thread(
            kill_writers, folders["early"], early_kills, dice, no_progress, early=True
        )
        times = kills * 10
        changed, cut_by_chain, cut_by_anchor = spoil(folders["spoil"], times, dice)
        speeds = await race(folders["race"], rounds, seconds, progress)
    terms = {"kills": kills, "spoiled": times, "rounds": rounds, "seconds": seconds, "seed": seed}
    checks = (
        *_kill_checks(kills, killed, early_kills, early),
        Check(
            "Every change, removal and reordering shows in the chain",
            f"{changed:,} of {times:,} seen", changed == times,
        ),
        Check(
            "A cut end shows by the anchor, and never by the chain alone",
            f"{cut_by_anchor:,} of {times:,} by the anchor, {cut_by_chain} by the chain",
            cut_by_anchor == times and cut_by_chain == 0,
        ),
        _shared(speeds),
    )  # fmt: skip
    return Outcome("audit", terms, checks, _figures(speeds))


def _kill_checks(
    kills: int, killed: Killed, early_kills: int, early: Killed
) -> tuple[Check, Check]:
    seen = (
        f"{killed.lost} of {killed.promised:,} promised entries lost, {killed.entries:,} in the log"
    )
    return (
        Check(
            f"{kills} writers killed with SIGKILL: every entry that was promised is there, and the "
            "log is whole",
            f"{seen}; {killed.problem}" if killed.problem else seen,
            killed.promised > kills and killed.lost == 0 and not killed.problem,
        ),
        Check(
            f"Control: a log that promises before its fsync loses entries in {early_kills} kills",
            f"{early.lost} of {early.promised:,} lost",
            early.lost > 0,
        ),
    )


def _shared(speeds: dict[str, list[Speed]]) -> Check:
    grouped, ratio = median(speed.grouped for speed in speeds["group"]), _ratio(speeds)
    group, each, alone = (_waits(speeds[way]) for way in ("group", "each", "alone"))
    return Check(
        f"{WAITING} that wait share an fsync",
        f"{grouped:.1f} entries a commit, {ratio:.1f} times as fast as with one fsync each; "
        f"an entry waits {group}, with one fsync each {each}, and {alone} where one waits alone",
        grouped > 1 and ratio > 1,
    )


def _waits(turns: list[Speed]) -> str:
    half, most = median(t.p50_ms for t in turns), median(t.p99_ms for t in turns)
    return f"{half:.1f} ms ({most:.1f} for the slowest hundredth)"


def _ratio(speeds: dict[str, list[Speed]]) -> float:
    pairs = zip(speeds["group"], speeds["each"], strict=True)
    return median(group.rate / each.rate for group, each in pairs)


def _figures(speeds: dict[str, list[Speed]]) -> dict[str, float]:
    parts: dict[str, Callable[[Speed], float]] = {
        "entries_per_second": lambda s: s.rate,
        "p50_ms": lambda s: s.p50_ms,
        "p99_ms": lambda s: s.p99_ms,
        "entries_per_commit": lambda s: s.grouped,
    }
    found = {
        f"{way}_{name}": round(median(map(part, turns)), 3)
        for way, turns in speeds.items()
        for name, part in parts.items()
    }
    return found | {"group_against_each": round(_ratio(speeds), 3)}
