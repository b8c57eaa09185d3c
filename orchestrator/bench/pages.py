"""What a run leaves behind: data as JSON and CSV, a plot, and a page for each suite.

A page is made anew by each run up to a mark; what stands below it was written by hand and stays.
"""

import csv
import json
import textwrap
from pathlib import Path

from orchestrator.bench.outcome import Outcome
from orchestrator.bench.plots import draw
from orchestrator.bench.report import by_case, cells, headings, load_in_words

MARK = "<!-- Above: written by `isthmus bench`. Below: written by hand, and kept. -->"

_WIDTH = 110


def write_all(outcome: Outcome, folder: Path, command: str) -> list[Path]:
    """Write everything of a suite into a folder and return the files.

    Args:
        outcome: What was measured.
        folder: Where to; it is made if need be.
        command: How to measure it again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / outcome.suite.name
    data, table, plot, page = (base.with_suffix(s) for s in (".json", ".csv", ".png", ".md"))
    data.write_text(json.dumps(outcome.as_data(), indent=1) + "\n")
    _write_table(outcome, table)
    draw(outcome, plot)
    by_hand = page.read_text().partition(MARK)[2] if page.exists() else "\n"
    page.write_text(as_page(outcome, command) + MARK + by_hand)
    return [data, table, plot, page]


def as_page(outcome: Outcome, command: str) -> str:
    """Return the generated part of a page."""
    suite = outcome.suite
    parts = [f"# {suite.title}", _filled(suite.about), f"```\n{command}\n```", _tables(outcome)]
    if outcome.absent:
        told = "\n".join(f"- {name}: {why}" for name, why in outcome.absent.items())
        parts.append(f"Not measured:\n\n{told}")
    parts += [_filled(f"{load_in_words(outcome)}."), _filled(f"Measured on {outcome.machine}.")]
    parts.append(f"![{suite.title}]({suite.name}.png)")
    parts.append(f"Every round: [{suite.name}.csv]({suite.name}.csv), [JSON]({suite.name}.json).")
    return "\n\n".join(parts) + "\n\n"


def _filled(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _tables(outcome: Outcome) -> str:
    parts = []
    for case, rows in by_case(outcome.rows).items():
        titles = headings(outcome.suite, rows)
        marks = ["---", *("---:" for _ in titles[1:])]
        lines = [titles, marks, *(cells(outcome.suite, row, rows) for row in rows)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"## {case}\n\n{table}")
    return "\n\n".join(parts)


def _write_table(outcome: Outcome, path: Path) -> None:
    """Write a line for each figure of each way in each round."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["suite", "case", "way", "round", "figure", "value", "foreign"])
        for sample in outcome.samples:
            for figure, value in sample.figures.items():
                writer.writerow(
                    [
                        outcome.suite.name,
                        sample.case,
                        sample.way,
                        sample.round,
                        figure,
                        f"{value:.6g}",
                        f"{sample.foreign:.3f}",
                    ]
                )
