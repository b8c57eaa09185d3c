"""What a proof found: promises, what was seen, and a table of both."""

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

Progress = Callable[[int], None]
"""Is told of so many more units of work that are done."""


def no_progress(more: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise.

    Attributes:
        promise: What shall hold, in words.
        seen: What was seen.
        holds: Whether it held.
        known: Why it is known not to hold yet; empty if nothing is known.
    """

    promise: str
    seen: str
    holds: bool
    known: str = ""

    @property
    def verdict(self) -> str:
        """One word for the table."""
        if self.holds:
            return "holds"
        return "open" if self.known else "BROKEN"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one part of the proof found.

    Attributes:
        part: Its name.
        terms: How large it was, from what seed.
        checks: The promises.
        figures: What was measured beside.
        tables: What was measured in rows of the same columns, by title.
    """

    part: str
    terms: dict[str, Any]
    checks: tuple[Check, ...]
    figures: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def check(self, words: str) -> Check:
        """Return the check whose promise has these words."""
        return next(check for check in self.checks if words in check.promise)


def machine() -> dict[str, Any]:
    """Return what the proof ran on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("grpcio", "protobuf", "numpy", "onnxruntime")},
    }


def _processor() -> str:
    with open("/proc/cpuinfo") as lines:
        found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.machine()


def markdown(outcome: Outcome, seconds: float) -> str:
    """Return one part as Markdown."""
    terms = ", ".join(f"{key} {_number(value)}" for key, value in outcome.terms.items())
    lines = [f"## {outcome.part}", "", f"{terms}; took {seconds:,.0f} s.", ""]
    lines += ["| promise | seen | |", "|---|---|---|"]
    lines += [f"| {c.promise} | {c.seen} | {c.verdict} |" for c in outcome.checks]
    lines += [f"\nOpen: {check.known}" for check in _open(outcome.checks)]
    for title, rows in outcome.tables.items():
        lines += ["", f"**{title}**", "", *_table(rows)]
    return "\n".join(lines) + "\n"


def _table(rows: list[dict[str, Any]]) -> list[str]:
    heads = [*rows[0]] if rows else []
    cells = [[_number(row[head]) for head in heads] for row in rows]
    return [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *cells)]


def _open(checks: Iterable[Check]) -> list[Check]:
    return [check for check in checks if check.verdict == "open"]


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
