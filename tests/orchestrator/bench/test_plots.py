import sys
from pathlib import Path

import pytest

from orchestrator.bench.outcome import Outcome
from orchestrator.bench.plots import draw, refuse_without_plots
from orchestrator.core.errors import UsageError


def test_a_plot_is_a_png_of_some_size(outcome: Outcome, tmp_path: Path) -> None:
    draw(outcome, tmp_path / "calls.png")
    written = (tmp_path / "calls.png").read_bytes()
    assert written.startswith(b"\x89PNG")
    assert len(written) > 5_000


def test_an_outcome_without_samples_is_an_empty_plot(outcome: Outcome, tmp_path: Path) -> None:
    empty = Outcome(outcome.suite, [], {}, outcome.machine, 1, 1.0)
    draw(empty, tmp_path / "calls.png")
    assert (tmp_path / "calls.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_without_plots()
    monkeypatch.setattr("orchestrator.bench.plots.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'isthmus\[bench\]'"):
        refuse_without_plots()
    assert "matplotlib.pyplot" not in sys.modules  # which would look for a screen
