"""A plot of one figure of a suite: a panel for each case, a bar for each way."""

import math
import textwrap
from importlib.util import find_spec
from pathlib import Path

from orchestrator.bench.outcome import Outcome
from orchestrator.bench.report import by_case
from orchestrator.core.errors import UsageError

_OURS, _OTHERS = "#1f6f8b", "#b9c4c9"


def refuse_without_plots() -> None:
    """Raise UsageError if matplotlib is not installed, before anything is measured in vain."""
    if find_spec("matplotlib") is None:
        raise UsageError("--out draws plots with matplotlib: pip install 'isthmus[bench]'")


def draw(outcome: Outcome, path: Path) -> None:
    """Write a PNG; the whiskers reach from the lowest round to the highest."""
    from matplotlib.figure import Figure

    column = next(c for c in outcome.suite.columns if c.key == outcome.suite.plotted)
    cases = {
        case: [row for row in rows if column.key in row.medians]
        for case, rows in by_case(outcome.rows).items()
    }
    most = max((len(rows) for rows in cases.values()), default=1)
    across = min(max(len(cases), 1), 2)
    down = max(math.ceil(len(cases) / across), 1)
    size = 6.0 * across, down * (1.0 + 0.25 * most)
    figure = Figure(figsize=size, layout="constrained")
    for place, (case, rows) in enumerate(cases.items(), 1):
        axes = figure.add_subplot(down, across, place)
        ranges = [_range(outcome, column.key, case, row.way) for row in rows]
        names = [textwrap.shorten(row.way, 36) for row in rows]
        axes.barh(
            names,
            [row.medians[column.key] for row in rows],
            xerr=_whiskers([row.medians[column.key] for row in rows], ranges),
            color=[_OURS if row.way.startswith("isthmus") else _OTHERS for row in rows],
            error_kw={"linewidth": 0.8},
        )
        axes.invert_yaxis()
        axes.set_title(case, fontsize=9)
        if _wide([row.medians[column.key] for row in rows]):
            axes.set_xscale("log")
        axes.tick_params(labelsize=7)
        axes.set_xlabel(column.title, fontsize=8)
    figure.savefig(path, dpi=110)


def _wide(values: list[float]) -> bool:
    """Say whether the least could not be seen beside the most."""
    return min(values) > 0 and max(values) / min(values) > 50


def _range(outcome: Outcome, key: str, case: str, way: str) -> tuple[float, float]:
    found = [s.figures[key] for s in outcome.samples if (s.case, s.way) == (case, way)]
    return min(found), max(found)


def _whiskers(
    medians: list[float], ranges: list[tuple[float, float]]
) -> tuple[list[float], list[float]]:
    below = [median - low for median, (low, _) in zip(medians, ranges, strict=True)]
    above = [high - median for median, (_, high) in zip(medians, ranges, strict=True)]
    return below, above
