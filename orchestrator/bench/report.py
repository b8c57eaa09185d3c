"""The outcome of a suite for people, as tables."""

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.bench.outcome import Outcome
from orchestrator.bench.suites.suite import Column, Suite
from orchestrator.bench.summary import Row


def headings(suite: Suite, rows: list[Row]) -> list[str]:
    """Return the titles of the columns: each figure, then its ratio to each base."""
    titles = [""]
    for column in _used(suite, rows):
        titles.append(column.title)
        titles += [f"/ {base}" for base in _bases(column, rows)]
    return titles


def cells(suite: Suite, row: Row, rows: list[Row]) -> list[str]:
    """Return the cells of a row, as many as there are headings."""
    line = [row.way]
    for column in _used(suite, rows):
        value = row.medians.get(column.key)
        line.append("" if value is None else f"{value:,.{column.digits}f}")
        found = {ratio.base: ratio for ratio in row.ratios.get(column.key, ())}
        line += [
            f"{found[base].median:.2f} ({found[base].worst:.2f})" if base in found else ""
            for base in _bases(column, rows)
        ]
    return line


def by_case(rows: list[Row]) -> dict[str, list[Row]]:
    """Return the rows of each case."""
    return {case: [row for row in rows if row.case == case] for case in {r.case: 0 for r in rows}}


def as_tables(outcome: Outcome) -> RenderableType:
    """Return one table a case, what was absent, and how loaded the machine was."""
    parts: list[RenderableType] = []
    for case, rows in by_case(outcome.rows).items():
        title = f"\n{outcome.suite.title}: {case}"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for number, heading in enumerate(headings(outcome.suite, rows)):
            table.add_column(heading, justify="right" if number else "left", no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, cells(outcome.suite, row, rows)))
        parts.append(table)
    parts += [Text(f"{name} is absent: {why}", "yellow") for name, why in outcome.absent.items()]
    parts += [Text(load_in_words(outcome)), Text(str(outcome.machine), "dim")]
    return Group(*parts)


def load_in_words(outcome: Outcome) -> str:
    """Say how much of the machine others used in each round."""
    shares = ", ".join(f"{share:.0%}" for share in outcome.foreign.values())
    used = {ratio.base for row in outcome.rows for found in row.ratios.values() for ratio in found}
    bases = ", ".join(f"/ {b.short}: to {b}" for b in outcome.suite.bases if b.short in used)
    return (
        f"{outcome.rounds} rounds of {outcome.seconds:g} s a turn; medians; {bases}, inside a "
        "round, in brackets the worst one; others used this part of the machine, round by round: "
        f"{shares or 'unknown'}"
    )


def _used(suite: Suite, rows: list[Row]) -> list[Column]:
    return [c for c in suite.columns if any(c.key in row.medians for row in rows)]


def _bases(column: Column, rows: list[Row]) -> list[str]:
    found = (ratio.base for row in rows for ratio in row.ratios.get(column.key, ()))
    return list(dict.fromkeys(found))
