import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from orchestrator.resilience.retry import RetryBudget, backoff
from orchestrator.settings.nodes import NodeEntry
from orchestrator.testing import ManualClock


def drawn(budget: RetryBudget) -> int:
    """Return how many retries there are at this moment."""
    count = 0
    while count < 10_000 and budget.withdraw():
        count += 1
    return count


def test_rare_calls_may_be_retried_from_the_floor_alone() -> None:
    clock = ManualClock()
    budget = RetryBudget(share=0.0, floor=10.0, clock=clock)
    drawn(budget)
    clock.turn(1.0)
    assert drawn(budget) == 10


def test_without_floor_retries_are_the_share_of_the_calls() -> None:
    budget = RetryBudget(share=0.25, floor=0.0, clock=ManualClock())
    drawn(budget)
    assert not budget.withdraw()
    for _ in range(40):
        budget.deposit()
    assert drawn(budget) == 10


def test_at_the_start_the_calls_of_one_lost_node_may_all_be_retried() -> None:
    assert (
        drawn(RetryBudget(clock=ManualClock())) >= NodeEntry.model_fields["max_in_flight"].default
    )


def test_a_quiet_time_saves_up_no_storm() -> None:
    clock = ManualClock()
    budget = RetryBudget(most=50.0, clock=clock)
    clock.turn(1e6)
    assert drawn(budget) == 50


class Storm(RuleBasedStateMachine):
    """Calls and retries in any order: retries never exceed what was earned."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(0.0)
        self.budget = RetryBudget(share=0.2, floor=5.0, most=20.0, clock=self.clock)
        self.calls = self.retries = 0

    @rule(count=st.integers(1, 200))
    def call(self, count: int) -> None:
        for _ in range(count):
            self.budget.deposit()
        self.calls += count

    @rule(count=st.integers(1, 100))
    def retry(self, count: int) -> None:
        granted = sum(self.budget.withdraw() for _ in range(count))
        self.retries += granted
        assert granted <= 20
        assert self.retries <= 20.0 + 0.2 * self.calls + 5.0 * self.clock.now + 1e-6

    @rule(seconds=st.floats(0.0, 10.0))
    def wait(self, seconds: float) -> None:
        self.clock.turn(seconds)

    @rule()
    def after_a_second_there_is_one_again(self) -> None:
        self.clock.turn(1.0)
        assert self.budget.withdraw()
        self.retries += 1


def test_retries_never_exceed_what_calls_and_time_have_earned() -> None:
    run_state_machine_as_test(Storm)


@given(st.integers(1, 50), st.floats(0.0, 1.0))
def test_the_wait_grows_with_the_rounds_and_stays_below_its_limit(
    rounds: int, chance: float
) -> None:
    assert 0.0 <= backoff(rounds, chance) <= 1.0
    assert backoff(rounds, 1.0) <= backoff(rounds + 1, 1.0)


def test_full_jitter_spreads_the_wait_from_nothing_to_all_of_it() -> None:
    assert backoff(1, 0.0) == 0.0
    assert backoff(1, 1.0) == pytest.approx(0.05)
    assert backoff(3, 0.5) == pytest.approx(0.1)
