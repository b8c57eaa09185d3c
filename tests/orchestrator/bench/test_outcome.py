import json

from orchestrator.bench.outcome import Outcome


def test_an_outcome_is_data_with_everything_that_was_measured(outcome: Outcome) -> None:
    data = json.loads(json.dumps(outcome.as_data()))
    assert (data["suite"], data["rounds"], data["seconds"]) == ("calls", 3, 0.5)
    assert data["absent"] == {"peer": "it is not installed"}
    assert data["machine"]["cores"] == 2
    assert len(data["samples"]) == 6
    assert data["samples"][0]["figures"] == {"rate": 100, "ms": 10}
    assert data["rows"][1]["ratios"]["rate"] == [{"base": "b", "median": 3.0, "worst": 2.0}]
    assert set(data["foreign"]) == {"1", "2", "3"}
