from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.bench.turns import Case, Figures, Prepared, Way, take_turns


def ways(names: str, seen: list[str]) -> list[Way]:
    def way(name: str) -> Way:
        async def measure(seconds: float) -> tuple[Figures, int]:
            seen.append(name)
            return {"calls": 2.0, "seconds": seconds}, 2

        return Way(name, measure)

    return [way(name) for name in names]


async def test_all_take_their_turn_in_each_round_and_another_one_begins() -> None:
    seen: list[str] = []
    samples = await take_turns(Prepared([Case("x", ways("abc", seen))]), 2, 0.01)
    assert "".join(seen) == "abcbcacab"  # the first is to warm up
    assert [(s.round, s.way) for s in samples] == [(1, w) for w in "bca"] + [(2, w) for w in "cab"]
    assert all(s.figures["seconds"] == 0.01 and 0 <= s.foreign <= 1 for s in samples)


async def test_cpu_time_is_counted_by_call() -> None:
    (sample,) = await take_turns(Prepared([Case("x", ways("a", []))]), 1, 0.01)
    assert 0 < sample.figures["caller_cpu_us"] < 1e6
    assert sample.figures["server_cpu_us"] == 0
    assert sample.figures["cpu_us"] == sample.figures["caller_cpu_us"]


async def test_who_fails_is_absent_from_then_on_and_the_others_go_on() -> None:
    turns = 0

    async def failing(seconds: float) -> tuple[Figures, int]:
        nonlocal turns
        turns += 1
        if turns > 2:
            raise ExceptionGroup("", [ValueError("the server\nwent away")])
        return {}, 1

    prepared = Prepared([Case("x", [*ways("ab", []), Way("bad", failing)])])
    samples = await take_turns(prepared, 4, 0.01)
    assert turns == 3
    assert prepared.absent == {"bad": "failed in round 2: ValueError: the server"}
    assert [s.round for s in samples if s.way == "bad"] == [1]
    assert len([s for s in samples if s.way == "a"]) == 4


async def test_a_server_is_awake_in_its_turn_only() -> None:
    events: list[str] = []

    @contextmanager
    def awake() -> Iterator[None]:
        events.append("wake")
        yield
        events.append("sleep")

    async def measure(seconds: float) -> tuple[Figures, int]:
        events.append("turn")
        return {}, 1

    await take_turns(Prepared([Case("x", [Way("a", measure, awake=awake)])]), 1, 0.01)
    assert events == ["wake", "turn", "sleep"] * 2


async def test_the_part_that_is_done_grows_to_the_end() -> None:
    parts: list[float] = []
    prepared = Prepared([Case("x", ways("ab", [])), Case("y", ways("ab", []))])
    await take_turns(prepared, 1, 0.01, lambda text, part: parts.append(part))
    assert parts == [n / 8 for n in range(8)]
