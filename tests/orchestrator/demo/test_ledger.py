import json

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.call import Result, Timings
from orchestrator.core.errors import NoRoute, PrivacyRefused
from orchestrator.demo.ledger import Ledger, reasons, why_there
from policies.facts import (
    PUBLIC,
    CallFacts,
    Candidate,
    Clearance,
    Decision,
    EndpointFacts,
    Placement,
    Tier,
    Verdict,
)

CALL = CallFacts("embed", "v1", PUBLIC, Placement("cloud", "overflow"), 10, 100.0)


def candidate(name: str, tier: Tier) -> Candidate:
    return Candidate(EndpointFacts(name, tier, Clearance()), True, 1.0)


EDGE, CLOUD = candidate("edge-1", "edge"), candidate("cloud-1", "cloud")


def decided(*candidates: Candidate, refused: tuple[Verdict, ...] = ()) -> Decision:
    return Decision(CALL, candidates, refused)


def result(
    decision: Decision,
    tier: Tier = "edge",
    ms: float = 1.0,
    attempts: tuple[str, ...] = ("edge-1",),
) -> Result[None]:
    return Result(None, tier, attempts[-1], PUBLIC, decision, Timings(), ms, attempts, "0" * 16)


def refusal(by: str, reason: str = "a reason") -> Verdict:
    return Verdict("cloud-1", "cloud", by, reason)


def test_why_a_call_ran_where_it_did_is_told_in_a_few_words() -> None:
    both = decided(EDGE, CLOUD)
    private = decided(EDGE, refused=(refusal("privacy", "label secret is above internal"),))
    gone = decided(EDGE, refused=(refusal("availability", "not ready: it is gone"),))
    promised = decided(EDGE, refused=(refusal("tier"),))
    assert why_there(both, result(both)) == "cheapest of both tiers"
    assert why_there(private, result(private)) == "privacy: label secret is above internal"
    assert why_there(gone, result(gone)) == "cloud not ready"
    assert why_there(promised, result(promised)) == "promised to the edge"
    assert why_there(decided(EDGE), result(decided(EDGE))) == "the only node"


def test_a_call_that_had_to_move_names_the_node_that_failed() -> None:
    both = decided(CLOUD, EDGE)
    moved = result(both, attempts=("cloud-1", "edge-1"))
    assert why_there(both, moved) == "cloud-1 failed, the next candidate took it"


def test_a_refusal_by_privacy_says_more_than_that_the_node_is_also_away() -> None:
    both = decided(EDGE, refused=(refusal("availability"), refusal("privacy", "too secret")))
    assert why_there(both, result(both)) == "privacy: too secret"


def test_steps_are_counted_by_name_and_tier_and_every_call_once() -> None:
    ledger = Ledger()
    for tier, times in (("edge", 3), ("cloud", 2)):
        for _ in range(times):
            ledger.note("embed", result(decided(EDGE, CLOUD), tier))  # type: ignore[arg-type]
    ledger.note("clean", result(decided(EDGE)))
    rows = {(row["step"], row["tier"]): row["calls"] for row in ledger.as_data()["steps"]}
    assert rows == {("clean", "edge"): 1, ("embed", "cloud"): 2, ("embed", "edge"): 3}
    assert sum(rows.values()) == len(ledger.steps)
    assert len(ledger.chosen("", "edge")) == 4


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_one_of_the_times_and_grows_with_its_share(
    times: list[float], share: float
) -> None:
    ledger = Ledger()
    for ms in times:
        ledger.note("embed", result(decided(EDGE), ms=ms))
    quantile = ledger.quantile_ms("embed", "edge", share)
    assert quantile in times
    assert min(times) <= quantile <= ledger.quantile_ms("embed", "edge", 1.0) == max(times)


def test_a_step_that_never_ran_has_no_quantile() -> None:
    assert Ledger().quantile_ms("embed", "edge", 0.5) == 0.0


def test_reasons_come_with_counts_the_most_frequent_first() -> None:
    ledger = Ledger()
    for decision in (decided(EDGE), decided(EDGE, CLOUD), decided(EDGE, CLOUD)):
        ledger.note("embed", result(decision))
    assert list(reasons(ledger.steps).items()) == [
        ("cheapest of both tiers", 2),
        ("the only node", 1),
    ]


def test_three_decisions_of_different_kinds_are_kept_as_samples() -> None:
    ledger = Ledger()
    assert ledger.samples() == []
    ledger.note("embed", result(decided(EDGE, CLOUD)))
    ledger.note("embed", result(decided(EDGE, refused=(refusal("privacy"),))))
    ledger.note(
        "embed", result(decided(EDGE, refused=(refusal("availability", "not ready: gone"),)))
    )
    ledger.note_refusal("archive", PrivacyRefused(decision=decided(refused=(refusal("privacy"),))))
    titles = [title for title, _ in ledger.samples()]
    assert titles == ["cost decided", "privacy refused it", "the cloud was gone"]
    assert all("embed: label public" in text for _, text in ledger.samples())


def test_a_refusal_without_a_decision_is_counted_as_well() -> None:
    ledger = Ledger()
    ledger.note_refusal("archive", NoRoute("gone"))
    ledger.note_refusal("archive", NoRoute("gone"))
    assert ledger.refused == {"archive": 2}
    assert ledger.samples() == []


def test_the_books_are_plain_data_for_programs() -> None:
    ledger = Ledger(submitted=2, done=1, lost={7: "NO_ROUTE"}, events=["cloud-node was killed"])
    ledger.masked.update({"email": 2})
    ledger.note("embed", result(decided(EDGE, CLOUD), ms=12.345678))
    data = json.loads(json.dumps(ledger.as_data()))
    assert (data["submitted"], data["done"], data["lost"]) == (2, 1, {"7": "NO_ROUTE"})
    assert data["masked"] == {"email": 2}
    assert data["steps"][0]["p50_ms"] == 12.35
    assert data["steps"][0]["why"] == {"cheapest of both tiers": 1}
