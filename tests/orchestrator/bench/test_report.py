import io

from rich.console import Console

from orchestrator.bench.outcome import Outcome
from orchestrator.bench.report import as_tables, by_case, cells, headings


def test_a_row_has_a_cell_for_each_heading(outcome: Outcome) -> None:
    rows = outcome.rows
    assert headings(outcome.suite, rows) == ["", "calls/s", "/ b", "p50 ms", "/ b"]
    assert cells(outcome.suite, rows[1], rows) == [
        "isthmus", "200", "3.00 (2.00)", "20.0", "0.50 (2.00)",
    ]  # fmt: skip
    assert list(by_case(rows)) == ["64 in flight"]


def test_tables_say_what_is_absent_and_how_loaded_the_machine_was(outcome: Outcome) -> None:
    console = Console(width=130, record=True, file=io.StringIO())
    console.print(as_tables(outcome))
    said = " ".join(console.export_text().split())
    assert "Calls: 64 in flight" in said
    assert "peer is absent: it is not installed" in said
    assert "3 rounds of 0.5 s a turn" in said
    assert "round by round: 10%, 20%, 30%" in said
    assert "a processor" in said
