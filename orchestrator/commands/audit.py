"""`isthmus audit`: whether a log is whole, what is in it, and a part of it with its proof."""

import csv
import json
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO

from rich.console import Group
from rich.table import Table
from rich.text import Text

from orchestrator.commands.finding import find_settings
from orchestrator.core.errors import OrchestratorError, UsageError
from orchestrator.settings.caller import load_settings
from orchestrator.telemetry.audit.anchor import read_anchor
from orchestrator.telemetry.audit.entries import GENESIS, Damaged, Head, unseal
from orchestrator.telemetry.audit.verify import Finding, read_lines, verify

_NAMED = ("seq", "time", "kind", "service", "label", "node", "call")
_CHAIN = ("hash", "previous", "trace", "version")


class DamagedLog(OrchestratorError):
    """A log is not whole."""


@dataclass(frozen=True, slots=True)
class Place:
    """A log and, if it has one, its anchor."""

    path: Path
    anchor: Path | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries to show; nothing said takes all."""

    service: str = ""
    kind: str = ""
    since: str = ""
    last: int = 0

    def takes(self, content: Mapping[str, Any]) -> bool:
        """Say whether an entry is one of them, but for `last`."""
        return (
            self.service in ("", content.get("service"))
            and self.kind in ("", content.get("kind"))
            and str(content.get("time", "")) >= self.since
        )


def find_place(path: Path | None, anchor: Path | None, settings: Path | None) -> Place:
    """Return the log that is named, else that of the settings.

    Raises:
        UsageError: The settings name none.
    """
    if path is not None:
        return Place(path, anchor)
    found = load_settings(find_settings(settings)).audit
    if found.path is None:
        raise UsageError("the settings keep no audit log: name one, or give audit.path there")
    return Place(found.path, anchor or found.anchor)


def check(place: Place, told: Callable[[int], object]) -> Finding:
    """Verify a log; `told` hears of bytes that are done."""
    return verify(place.path, read_anchor(place.anchor) if place.anchor else None, told)


def finding_as_data(place: Place, finding: Finding) -> dict[str, Any]:
    """Return what was found for programs."""
    return {"log": str(place.path), "anchor": place.anchor and str(place.anchor), **asdict(finding)}


def finding_as_text(place: Place, finding: Finding) -> Text:
    """Return what was found for people."""
    if finding.problem:
        return Text(f"{place.path}: {finding.detail}", "red")
    said = f"{place.path}: {finding.head.seq:,} entries, each as it was written"
    if finding.unfinished:
        said += "; the last line is unfinished, by a write under way or a crash"
    if not place.anchor:
        said += "; without --anchor nobody can tell whether its end was cut off"
    return Text(said, "green")


def select(place: Place, wanted: Wanted) -> list[Mapping[str, Any]]:
    """Return the entries that are wanted; one that is damaged says so."""
    found = (content for content in _contents(place.path) if wanted.takes(content))
    return list(deque(found, maxlen=wanted.last or None))


def as_table(contents: list[Mapping[str, Any]]) -> Group:
    """Return entries as a table for people, and how many of each kind there are."""
    table = Table("entry", "time", "kind", "service", "label", "node", "what")
    for content in contents:
        seconds = str(content.get("time", ""))[:19].replace("T", " ")
        cells = [str(content.get("seq", "")), seconds, *_words(content, "kind", "service")]
        cells += [_label(content.get("label")), *_words(content, "node"), _rest(content)]
        table.add_row(*map(Text, cells))
    kinds = Counter(str(content.get("kind")) for content in contents)
    counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    return Group(table, Text(f"{len(contents):,} entries: {counts}" if contents else "no entries"))


def export(place: Place, first: int, last: int, form: Literal["json", "csv"], out: TextIO) -> None:
    """Write a range of entries with what proves them: the hash before it, and each one's own.

    Args:
        place: The log, which is verified up to the end of the range.
        first: The number of the first entry.
        last: That of the last one; 0 is the end.
        form: How.
        out: Where to.

    Raises:
        DamagedLog: The log is not whole.
        UsageError: There is no such range.
    """
    finding = check(place, lambda done: None)
    if finding.problem:
        raise DamagedLog(f"{place.path} is not exported: {finding.detail}")
    last = last or finding.head.seq
    if not 0 < first <= last <= finding.head.seq:
        raise UsageError(
            f"the log has entries 1 to {finding.head.seq}, not {first} to {last}: give --from and "
            "--to within"
        )
    before = unseal(_line(place.path, first - 1)).head if first > 1 else Head(0, GENESIS)
    lines = islice(read_lines(place.path), first - 1, last)
    if form == "csv":
        _write_csv(lines, out)
        return
    anchored = read_anchor(place.anchor) if place.anchor else None
    proof = {
        "before": asdict(before),
        "head": asdict(unseal(_line(place.path, last)).head),
        "log": asdict(finding.head),
        "anchor": asdict(anchored) if anchored else None,
    }
    out.write(f'{{"proof":{json.dumps(proof)},"entries":[\n')
    for number, line in enumerate(lines):
        out.write(("," if number else "") + line.decode())
    out.write("]}\n")


def _write_csv(lines: Iterable[bytes], out: TextIO) -> None:
    """Write one row an entry; its last cell is the line that its hash is over."""
    writer = csv.writer(out)
    writer.writerow([*_NAMED, "previous", "hash", "entry"])
    for line in lines:
        entry = unseal(line)
        content = {**entry.content, "label": _label(entry.content.get("label"))}
        known = [content.get(name, "") for name in _NAMED]
        writer.writerow([*known, entry.previous, entry.head.hash, line.decode().rstrip("\n")])


def _contents(path: Path) -> Iterator[Mapping[str, Any]]:
    for line in read_lines(path):
        try:
            yield unseal(line).content
        except Damaged:
            yield {"kind": "damaged"}


def _line(path: Path, number: int) -> bytes:
    return next(islice(read_lines(path), number - 1, None))


def _words(content: Mapping[str, Any], *names: str) -> list[str]:
    return [str(content.get(name, "-")) for name in names]


def _label(label: Any) -> str:
    if not isinstance(label, Mapping):
        return "public"
    categories = ", ".join(_plain(str(name)) for name in label.get("categories", ()))
    return f"{label.get('level')}{{{categories}}}" if categories else str(label.get("level"))


def _rest(content: Mapping[str, Any]) -> str:
    """Say in words what is special to an entry's kind."""
    said = []
    for name, value in content.items():
        if name in _NAMED or name in _CHAIN or value == "":
            continue
        if isinstance(value, Mapping):
            value = _label(value)
        elif isinstance(value, list):
            value = ", ".join(" ".join(v) if isinstance(v, list) else str(v) for v in value)
        text = _plain(str(value))
        said.append(f"{name} {text[:12] if name in ('given', 'taken', 'digest') else text}")
    return "; ".join(said)


def _plain(text: str) -> str:
    """Return text in which nothing can break a line or speak to a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def size_of(path: Path) -> int:
    """Return the bytes of a log; 0 if it is not there, which reading it tells."""
    return path.stat().st_size if path.exists() else 0


def writes_to(out: Path | None) -> TextIO:
    """Return where an export goes: a new file, or standard output."""
    if out is None:
        return sys.stdout
    try:
        return open(out, "x", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}; name a new file") from None
