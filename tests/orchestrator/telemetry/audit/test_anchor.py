from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.core.errors import SettingsError
from orchestrator.telemetry.audit.anchor import read_anchor, write_anchor
from orchestrator.telemetry.audit.entries import Head
from orchestrator.telemetry.audit.log import AuditPlace, open_audit
from orchestrator.telemetry.audit.verify import verify

Write = Callable[[int], list[bytes]]


def test_an_anchor_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "anchor.json"
    assert read_anchor(path) == Head()
    for head in (Head(1, "a" * 64), Head(2, "b" * 64)):
        write_anchor(path, head, "now")
        assert read_anchor(path) == head
    assert [file.name for file in tmp_path.iterdir()] == ["anchor.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seq":"x","hash":1}'])
def test_what_is_no_anchor_is_not_taken_for_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "anchor.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match="no anchor"):
        read_anchor(path)


def test_a_log_that_ends_well_is_anchored_at_its_end(write: Write, place: AuditPlace) -> None:
    assert place.anchor
    write(5)
    assert read_anchor(place.anchor) == verify(place.path).head
    write(2)
    assert read_anchor(place.anchor).seq == 7


@pytest.mark.parametrize("left", [0, 1, 4])
def test_a_log_that_was_cut_is_not_opened_and_its_anchor_is_kept(
    write: Write, place: AuditPlace, left: int
) -> None:
    assert place.anchor
    lines, anchor = write(5), place.anchor.read_bytes()
    place.path.write_bytes(b"".join(lines[:left]))
    with pytest.raises(SettingsError, match="does not hold entry 5 as anchor"), open_audit(place):
        pass
    assert place.anchor.read_bytes() == anchor
    place.path.write_bytes(b"".join(lines))  # the control: the whole log opens
    with open_audit(place):
        pass


def test_an_anchor_that_is_behind_is_right_if_its_entry_is_there(
    write: Write, place: AuditPlace
) -> None:
    assert place.anchor
    write(300)
    old = place.anchor.read_bytes()
    write(300)
    place.anchor.write_bytes(old)  # as after a crash
    with open_audit(place):
        pass
    write_anchor(place.anchor, Head(300, "c" * 64), "now")
    with pytest.raises(SettingsError, match="does not hold entry 300"), open_audit(place):
        pass
