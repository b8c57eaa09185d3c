import csv
import json
from pathlib import Path

from orchestrator.bench.outcome import Outcome
from orchestrator.bench.pages import MARK, write_all


def test_everything_of_a_suite_is_written(outcome: Outcome, tmp_path: Path) -> None:
    files = write_all(outcome, tmp_path / "new", "isthmus bench calls")
    assert [file.name for file in files] == ["calls.json", "calls.csv", "calls.png", "calls.md"]
    assert json.loads(files[0].read_text()) == json.loads(json.dumps(outcome.as_data()))
    with files[1].open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 12
    assert lines[0] == {
        "suite": "calls", "case": "64 in flight", "way": "base", "round": "1",
        "figure": "rate", "value": "100", "foreign": "0.100",
    }  # fmt: skip
    page = files[3].read_text()
    for part in (
        "# Calls", "isthmus bench calls", "## 64 in flight", "| isthmus | 200 | 3.00 (2.00) |",
        "- peer: it is not installed", "a processor", "![Calls](calls.png)",
    ):  # fmt: skip
        assert part in page


def test_what_was_written_by_hand_outlives_the_next_run(outcome: Outcome, tmp_path: Path) -> None:
    *_, page = write_all(outcome, tmp_path, "the first command")
    page.write_text(page.read_text() + "\nThe slow round was a backup.\n")
    write_all(outcome, tmp_path, "the second command")
    write_all(outcome, tmp_path, "the third command")
    text = page.read_text()
    assert text.endswith(f"{MARK}\n\nThe slow round was a backup.\n")
    assert text.count(MARK) == 1
    assert "the third command" in text
    assert "the first command" not in text
