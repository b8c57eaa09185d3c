import threading
from collections.abc import Callable

import pytest

from edge_node.parallel import side_by_side_is_faster, usable_cores
from orchestrator.testing import ManualClock

Work = Callable[[], None]


def taking(clock: ManualClock, seconds: float) -> Work:
    return lambda: clock.turn(seconds)


@pytest.mark.parametrize(("narrow", "wide", "side_by_side"), [(1, 3, True), (3, 1, False)])
def test_the_way_that_takes_less_time_is_taken(
    narrow: float, wide: float, side_by_side: bool
) -> None:
    clock = ManualClock()
    works = taking(clock, narrow), taking(clock, wide)
    assert side_by_side_is_faster(*works, 2, clock, clock) is side_by_side


def test_runs_in_turn_that_are_sooner_by_luck_and_need_more_cpu_are_not_taken() -> None:
    clock, cpu = ManualClock(), ManualClock()

    def narrow() -> None:
        clock.turn(5.0)  # something else has the other core
        cpu.turn(1.0)

    def wide() -> None:
        clock.turn(2.0)
        cpu.turn(1.2)

    assert side_by_side_is_faster(narrow, wide, 2, clock, cpu)
    assert not side_by_side_is_faster(narrow, wide, 2, clock, clock)


def test_as_many_narrow_runs_as_cores_run_at_once() -> None:
    clock, threads = ManualClock(), set[int]()
    all_there = threading.Barrier(3, timeout=10)
    first = threading.get_ident()

    def narrow() -> None:
        if threading.get_ident() != first:  # the one before the measurement comes alone
            threads.add(threading.get_ident())
            all_there.wait()

    side_by_side_is_faster(narrow, taking(clock, 1.0), 3, clock, clock)
    assert len(threads) >= 3


def test_the_fastest_round_counts() -> None:
    clock, times = ManualClock(), [1.0, 0.01, 0.01, *[5.0] * 8]

    def held_up() -> None:
        clock.turn(times.pop(0))

    assert not side_by_side_is_faster(taking(clock, 0.02), held_up, 2, clock, clock)


def test_a_slow_model_is_tried_in_one_round() -> None:
    clock, runs = ManualClock(), list[int]()

    def wide() -> None:
        runs.append(1)
        clock.turn(10.0)

    side_by_side_is_faster(taking(clock, 10.0), wide, 2, clock, clock)
    assert len(runs) == 1 + 2


def test_this_machine_has_a_core() -> None:
    assert usable_cores() >= 1


def test_an_error_of_a_run_comes_out() -> None:
    def broken() -> None:
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        side_by_side_is_faster(broken, lambda: None, cores=2)
