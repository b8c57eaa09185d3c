from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from orchestrator.resilience.breaker import Breaker
from orchestrator.testing import ManualClock

MOST = 8.0
LIMIT = 2


def sent(breaker: Breaker) -> int:
    """Send a call, and return its ticket."""
    ticket = breaker.enter()
    assert ticket is not None
    return ticket


def opened(clock: ManualClock, failures: int = 3) -> Breaker:
    breaker = Breaker(failures, open_seconds=1.0, most_seconds=MOST, clock=clock)
    for _ in range(failures):
        breaker.failed(sent(breaker))
    return breaker


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(3, clock=ManualClock())
    for refused in (False, False, True):
        breaker.failed(sent(breaker))
        assert breaker.is_open is refused


def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = Breaker(2, clock=ManualClock())
    for _ in range(10):
        breaker.failed(sent(breaker))
        breaker.succeeded()
    assert breaker.enter()


def test_an_open_circuit_lets_nobody_pass_until_its_time_is_up() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.turn(0.99)
    assert breaker.enter() is None
    clock.turn(0.01)
    assert breaker.enter()


def test_one_trial_at_a_time_passes_a_half_open_circuit() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.turn(1.0)
    assert [bool(breaker.enter()) for _ in range(3)] == [True, False, False]


def test_a_trial_that_succeeds_closes_it_and_the_open_times_start_from_the_first() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.turn(1.0)
    breaker.failed(sent(breaker))
    clock.turn(2.0)
    assert breaker.enter()
    breaker.succeeded()
    for _ in range(3):
        breaker.failed(sent(breaker))
    clock.turn(1.0)
    assert not breaker.is_open


def test_a_trial_that_was_given_up_makes_room_for_the_next() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.turn(1.0)
    breaker.given_up(sent(breaker))
    assert breaker.enter()


def test_trials_that_fail_double_the_open_time_up_to_its_limit() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    waits = []
    for _ in range(6):
        started = clock.now
        while not (trial := breaker.enter()):
            clock.turn(0.25)
        waits.append(clock.now - started)
        breaker.failed(trial)
    assert waits == [1.0, 2.0, 4.0, MOST, MOST, MOST]


def test_failures_of_calls_under_way_when_it_opened_do_not_prolong_it() -> None:
    clock = ManualClock()
    breaker = Breaker(3, open_seconds=1.0, clock=clock)
    under_way = [sent(breaker) for _ in range(23)]
    for ticket in under_way[:3]:
        breaker.failed(ticket)
    clock.turn(0.9)
    for ticket in under_way[3:]:
        breaker.failed(ticket)
    clock.turn(0.1)
    assert breaker.enter()


def test_news_from_the_node_lets_a_trial_go_at_once_but_no_second_one() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    breaker.reached()
    assert breaker.enter()
    breaker.reached()
    assert breaker.enter() is None


def test_an_old_call_given_up_does_not_let_a_second_trial_pass() -> None:
    clock = ManualClock()
    breaker = Breaker(1, clock=clock)
    old = sent(breaker)
    breaker.failed(sent(breaker))
    clock.turn(1.0)
    assert breaker.enter()  # the trial
    breaker.given_up(old)
    assert breaker.enter() is None


def test_an_old_call_that_fails_during_a_trial_does_not_prolong_it() -> None:
    clock = ManualClock()
    breaker = Breaker(1, open_seconds=1.0, clock=clock)
    old = sent(breaker)
    breaker.failed(sent(breaker))
    clock.turn(1.0)
    trial = sent(breaker)
    breaker.failed(old)
    breaker.given_up(trial)
    assert breaker.enter()


def test_an_endpoint_that_fails_for_days_is_still_tried() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    for _ in range(2000):
        clock.turn(MOST)
        breaker.failed(sent(breaker))


@given(st.lists(st.sampled_from(["succeeded", "failed", "given_up", "reached"])))
def test_whatever_happened_the_next_call_passes_after_the_longest_open_time(
    events: list[str],
) -> None:
    clock = ManualClock()
    breaker = Breaker(2, most_seconds=MOST, clock=clock)
    for event in events:
        if event in ("failed", "given_up"):
            if ticket := breaker.enter():
                getattr(breaker, event)(ticket)
        else:
            getattr(breaker, event)()
    clock.turn(MOST)
    assert breaker.enter()


class Calls(RuleBasedStateMachine):
    """Calls that overlap in any order."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.breaker = Breaker(LIMIT, open_seconds=1.0, most_seconds=MOST, clock=self.clock)
        self.trials: set[int] = set()
        self.in_row = 0

    @rule(target=calls)
    def enter(self) -> object:
        ticket = self.breaker.enter()
        if ticket is None:
            return multiple()
        if self.in_row >= LIMIT:
            self.trials.add(ticket)
        return ticket

    @rule(call=consumes(calls))
    def succeed(self, call: int) -> None:
        self.breaker.succeeded()
        self.trials.clear()  # the circuit is closed: no call is a trial any more
        self.in_row = 0

    @rule(call=consumes(calls), given_up=st.booleans())
    def end_otherwise(self, call: int, given_up: bool) -> None:
        counts = self.in_row < LIMIT or call in self.trials
        self.trials.discard(call)
        if given_up:
            self.breaker.given_up(call)
            return
        self.breaker.failed(call)
        self.in_row += counts

    @rule(seconds=st.floats(0.0, 2 * MOST))
    def wait(self, seconds: float) -> None:
        self.clock.turn(seconds)

    @rule()
    def hear_of_the_node(self) -> None:
        self.breaker.reached()

    @rule()
    def wait_long(self) -> None:
        self.clock.turn(MOST)
        if not self.trials:
            assert not self.breaker.is_open, "stuck open"

    @invariant()
    def is_closed_below_the_limit(self) -> None:
        if self.in_row < LIMIT:
            assert not self.breaker.is_open

    @invariant()
    def has_one_trial_at_most(self) -> None:
        assert len(self.trials) <= 1


def test_calls_that_overlap_never_leave_it_stuck_and_never_make_two_trials() -> None:
    run_state_machine_as_test(Calls)
