"""The capture proof as a part of the proofs: runs it on its side, and says what it found."""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.proofs.capture.namespaces import inside, possible, two_sides
from benchmarks.proofs.checksums import add_checksum_model
from benchmarks.proofs.report import Check, Outcome, Progress, no_progress

FULL_MESSAGES = 100_000
_MOST_AWAY = 0.5
_LEAST_BYTES, _LEAST_PACKETS = 50, 0.02
"""What each message must leave on the wire on average, or the recording is not of them."""

_ROOT = Path(__file__).parents[3]

CABLE = "two network namespaces"
PROXY = "a recording TCP proxy"


async def prove(
    messages: int = FULL_MESSAGES,
    seed: int = 1,
    progress: Progress = no_progress,
    *,
    by_proxy: bool = False,
) -> Outcome:
    """Prove that nothing labelled leaves, over so many messages.

    Args:
        messages: How many calls are made.
        seed: Which, and with what in them.
        progress: Is told of each call.
        by_proxy: Whether to record in a proxy even where network namespaces are possible.

    Raises:
        RuntimeError: The run failed, or root in CI may make no network namespaces.
    """
    how = PROXY if by_proxy else way()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "work").mkdir()
        add_checksum_model(folder / "work" / "store")
        command = [sys.executable, "-m", "benchmarks.proofs.capture.run"]
        command += [str(messages), str(seed)]
        if how == PROXY:
            await _run([*command, ""], folder, progress)
        else:
            with two_sides() as sides:
                await _run([*inside(sides.edge), *command, sides.cloud], folder, progress)
        found = json.loads((folder / "found.json").read_text())
    terms = {"messages": messages, "seed": seed, "recorded over": how}
    return Outcome("capture", terms, tuple(checks_of(found, messages)), found)


def way() -> str:
    """Return how to record here; raise RuntimeError if root in CI may make no namespaces."""
    if possible():
        return CABLE
    if os.geteuid() == 0 and os.environ.get("CI") == "true":
        raise RuntimeError("root in CI has to be able to make network namespaces: ip netns add")
    return PROXY


async def _run(command: list[str], folder: Path, progress: Progress) -> None:
    said = folder / "caller.err"
    with said.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, str(folder), stdout=asyncio.subprocess.PIPE, stderr=errors,
            cwd=folder / "work", env=os.environ | {"PYTHONPATH": str(_ROOT)},
        )  # fmt: skip
    assert process.stdout  # noqa: S101  it is a pipe
    async for line in process.stdout:
        progress(int(line))
    if await process.wait():
        raise RuntimeError(f"the run failed:\n{said.read_text()[-3000:]}")


def checks_of(found: dict[str, Any], messages: int) -> list[Check]:
    """Return what a run promises, given what it found."""
    return [
        *_leak_checks(found),
        _traffic_check(found, messages),
        *_sight_checks(found, messages),
        Check(
            "the positive control: what is planted is found in every place and encoding",
            f"{len(found['planted'])} planted ({', '.join(found['planted'])}), "
            f"missed: {', '.join(found['missed']) or 'none'}",
            bool(found["planted"]) and not found["missed"],
        ),
    ]


def _leak_checks(found: dict[str, Any]) -> list[Check]:
    checks = []
    for place, leaks in found["leaks"].items():
        hits = {**leaks, **{f"{k}, numbers": v for k, v in found["leaked_numbers"][place].items()}}
        size = found["sizes"][place]
        seen = ", ".join(f"{count} {name}" for name, count in hits.items()) or "0 hits"
        holds = not hits and size > 0  # nothing is found where nothing was looked at
        checks.append(Check(f"nothing labelled in: {place}", f"{seen} in {size:,} bytes", holds))
    return checks


def _traffic_check(found: dict[str, Any], messages: int) -> Check:
    ends = found["ends"].values()
    right, away = (sum(counted.get(end, 0) for counted in ends) for end in ("right", "away"))
    wrong = {
        f"{name}, {end}": count
        for name, counted in found["ends"].items()
        for end, count in counted.items()
        if end.startswith("wrong")
    }
    never = [name for name, counted in found["ends"].items() if not counted.get("right")]
    return Check(
        f"each of {len(ends)} kinds of calls ends as it should, whatever is killed or cut",
        f"{right:,} as they should, {away:,} told that a node was away, {wrong or 'none'} wrongly; "
        f"{found['retried']:,} retried, {found['fell_back']:,} answered by the other tier, "
        f"{found['cut']} connections cut" + (f"; never: {', '.join(never)}" if never else ""),
        not wrong
        and not never
        and right + away == messages
        and away < _MOST_AWAY * messages
        and min(found["fell_back"], found["cut"]) > 0,
    )


def _sight_checks(found: dict[str, Any], messages: int) -> list[Check]:
    wire, marks, seen = found["wire"], found["marks"], found["marks_seen"]
    return [
        Check(
            "every public mark that the cloud answered is seen in the recording",
            f"{seen:,} of {marks:,}",
            seen == marks > messages // 10,
        ),
        Check(
            "the recording is whole",
            f"{wire['packets']:,} packets, {wire['lost']} lost by the kernel; {wire['size']:,} "
            f"bytes in {wire['streams']:,} streams, {wire['missing']} missing",
            not wire["lost"]
            and not wire["missing"]
            and wire["packets"] > (_LEAST_PACKETS * messages if found["cable"] else 0)
            and wire["size"] > _LEAST_BYTES * messages,
        ),
        Check(
            "nothing on the wire is compressed",
            f"{wire['compressed']} of {wire['messages']:,} gRPC messages, "
            f"headers name {sorted(set(wire['encodings'])) or 'no compression'}",
            wire["messages"] > 0 and not wire["compressed"] and not wire["encodings"],
        ),
    ]
