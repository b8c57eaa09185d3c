import csv
import hashlib
import io
import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.commands.audit import (
    DamagedLog,
    Place,
    Wanted,
    as_table,
    check,
    export,
    find_place,
    finding_as_data,
    finding_as_text,
    select,
    writes_to,
)
from orchestrator.core.audit import Decided, Declassified, Digest, Revealed
from orchestrator.core.errors import UsageError
from orchestrator.telemetry.audit.log import AuditPlace, open_audit
from policies.facts import Label, Level

if TYPE_CHECKING:
    from tests.orchestrator.commands.conftest import Rendered, Write

PII = Label(Level.SENSITIVE, frozenset({"pii", "x\x1b[31m"}))
EVENTS = [
    Decided(
        call="c1", service="embed", node="edge-1", label=PII, candidates=("edge-1",),
        refused=(("cloud-1", "privacy"),),
    ),
    Declassified(service="redact", node="edge-1", label=PII, given=Digest("ab" * 32)),
    Revealed(label=PII, reason="a customer asked", digest=Digest("cd" * 32)),
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A log of three entries, of three days."""
    kept = AuditPlace(tmp_path / "audit.log", anchor=tmp_path / "anchor.json")
    now = [0.0]
    with open_audit(kept, wall=lambda: now[0]) as log:
        for day, event in enumerate(EVENTS):
            now[0] = day * 86400.0
            log.record(event).result(10)
    return Place(kept.path, kept.anchor)


def spoil(place: Place, *, cut: bool) -> None:
    lines = place.path.read_bytes().splitlines(keepends=True)
    text = b"".join(lines[:2] if cut else [*lines[:1], lines[1].replace(b"redact", b"REDACT")])
    place.path.write_bytes(text)


def test_a_whole_log_is_said_to_be_whole(place: Place) -> None:
    told: list[int] = []
    finding = check(place, told.append)
    assert (finding.problem, sum(told)) == ("", place.path.stat().st_size)
    assert finding_as_text(place, finding).plain.endswith("3 entries, each as it was written")
    alone = Place(place.path, None)
    assert "nobody can tell" in finding_as_text(alone, check(alone, told.append)).plain


@pytest.mark.parametrize(("cut", "entry", "word"), [(True, 3, "truncated"), (False, 2, "changed")])
def test_a_spoiled_one_names_its_first_bad_entry(
    place: Place, cut: bool, entry: int, word: str
) -> None:
    spoil(place, cut=cut)
    finding = check(place, lambda done: None)
    data = finding_as_data(place, finding)
    assert (data["problem"], data["entry"], data["log"]) == (word, entry, str(place.path))
    assert word in finding_as_text(place, finding).plain


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        (Wanted(), ["decision", "declassified", "revealed"]),
        (Wanted(service="redact"), ["declassified"]),
        (Wanted(kind="revealed"), ["revealed"]),
        (Wanted(since="1970-01-02"), ["declassified", "revealed"]),
        (Wanted(last=1), ["revealed"]),
        (Wanted(service="nobody"), []),
    ],
)
def test_entries_are_selected(place: Place, wanted: Wanted, kinds: list[str]) -> None:
    assert [content["kind"] for content in select(place, wanted)] == kinds


def test_the_table_is_for_people_and_cannot_speak_to_a_terminal(
    place: Place, rendered: "Rendered"
) -> None:
    text = rendered(as_table(select(place, Wanted())))
    for words in (
        "sensitive{pii, x?[31m}", "candidates edge-1; refused cloud-1 privacy", "given abab",
        "target public", "reason a customer asked", "1970-01-02 00:00:00",
        "3 entries: 1 decision, 1 declassified, 1 revealed",
    ):  # fmt: skip
        assert words in text
    assert "\x1b" not in text


def test_a_damaged_entry_is_shown_as_such(place: Place) -> None:
    spoil(place, cut=False)
    assert [content["kind"] for content in select(place, Wanted())] == ["decision", "damaged"]


def exported(place: Place, first: int, last: int, form: Any) -> str:
    out = io.StringIO()
    export(place, first, last, form, out)
    return out.getvalue()


def test_a_range_goes_out_as_json_with_what_proves_it(place: Place) -> None:
    found = json.loads(exported(place, 2, 3, "json"))
    entries, proof = found["entries"], found["proof"]
    assert [entry["seq"] for entry in entries] == [2, 3]
    previous = proof["before"]["hash"]
    for entry in entries:
        assert entry["previous"] == previous
        previous = entry.pop("hash")
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(text.encode()).hexdigest() == previous
    assert proof["head"] == proof["log"] == proof["anchor"] == {"seq": 3, "hash": previous}


def test_a_range_goes_out_as_csv_with_the_lines_that_hashes_are_over(place: Place) -> None:
    rows = list(csv.DictReader(io.StringIO(exported(place, 1, 0, "csv"))))
    assert [row["kind"] for row in rows] == ["decision", "declassified", "revealed"]
    for before, row in pairwise(rows):
        assert row["previous"] == before["hash"]
        line = row["entry"].removesuffix(f',"hash":"{row["hash"]}"}}') + "}"
        assert hashlib.sha256(line.encode()).hexdigest() == row["hash"]


@pytest.mark.parametrize(("first", "last"), [(1, 4), (4, 0), (3, 2)])
def test_a_range_that_is_not_there_is_told(place: Place, first: int, last: int) -> None:
    with pytest.raises(UsageError, match="the log has entries 1 to 3"):
        exported(place, first, last, "json")


def test_a_spoiled_log_is_not_exported(place: Place) -> None:
    spoil(place, cut=False)
    with pytest.raises(DamagedLog, match="entry 2 was changed"):
        exported(place, 1, 1, "json")


def test_the_log_is_that_of_the_settings_unless_one_is_named(write: "Write") -> None:
    settings = write("audit: {path: a.log, anchor: b.json}")
    assert find_place(None, None, settings) == Place(Path("a.log"), Path("b.json"))
    assert find_place(None, Path("c"), settings) == Place(Path("a.log"), Path("c"))
    assert find_place(Path("d"), None, settings) == Place(Path("d"), None)
    with pytest.raises(UsageError, match=r"give audit\.path there"):
        find_place(None, None, write("max_call_mib: 1"))


def test_an_export_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("kept")
    with pytest.raises(UsageError, match="name a new file"):
        writes_to(tmp_path / "out.json")
    with writes_to(tmp_path / "new.json") as file:
        file.write("x")
    assert (tmp_path / "new.json").read_text() == "x"
