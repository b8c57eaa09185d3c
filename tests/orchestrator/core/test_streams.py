import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import EndpointUnavailable, InvalidInput, UsageError
from orchestrator.core.home import Home
from orchestrator.core.streams import Stream
from orchestrator.decorators import edge_service

if TYPE_CHECKING:
    from tests.orchestrator.core.conftest import FakeCaller


@edge_service
def count(n: int) -> Iterator[int]:
    yield from range(n)


@edge_service
async def acount(n: int) -> AsyncIterator[int]:
    for number in range(n):
        yield number


class Source:
    """Makes streams of numbers, and notes what becomes of them."""

    def __init__(self) -> None:
        self.given = 0
        self.ended = threading.Event()

    def start(self, call: Call) -> AsyncGenerator[Any, None]:
        return self._values(call.arguments["n"])

    async def _values(self, n: int) -> AsyncGenerator[Any, None]:
        try:
            for number in range(n):
                self.given += 1
                yield number
        finally:
            self.ended.set()


@pytest.fixture
def source(caller: "FakeCaller") -> Source:
    made = Source()
    caller.answer = made.start
    return made


async def fail_after(values: int) -> AsyncGenerator[int, None]:
    for number in range(values):
        yield number
    raise EndpointUnavailable("gone", sent=True)


def test_a_stream_gives_its_values_and_then_its_result(source: Source) -> None:
    stream = count(3)
    assert next(stream) == 0
    with pytest.raises(UsageError, match="its result after its last value was taken"):
        _ = stream.result
    assert list(stream) == [1, 2]
    assert stream.result.node == "fake"
    assert stream.result.value is None
    assert stream.result.timings.node_ms == 5.0


async def test_an_asynchronous_stream_does_the_same_on_another_loop(source: Source) -> None:
    for stream in (acount(3), count.aio(3)):
        assert [value async for value in stream] == [0, 1, 2]
        assert stream.result.attempts == ("fake",)
        assert [value async for value in stream] == []


def test_an_asynchronous_service_streams_into_a_plain_thread(source: Source) -> None:
    stream = acount.sync(3)
    assert list(stream) == [0, 1, 2]
    assert stream.result.tier == "edge"


def test_an_empty_stream_has_a_result_too(source: Source) -> None:
    stream = count(0)
    assert list(stream) == []
    assert stream.result.node == "fake"


def test_nothing_is_called_before_the_first_value_is_asked_for(
    caller: "FakeCaller", source: Source
) -> None:
    stream = count(3)
    assert caller.calls == []
    next(stream)
    assert [call.stream for call in caller.calls] == [True]


def test_values_are_made_as_they_are_read(source: Source) -> None:
    stream = count(1000)
    assert [next(stream), next(stream)] == [0, 1]
    assert source.given == 2


def test_a_stream_that_is_closed_early_frees_its_call(source: Source) -> None:
    stream = count(1000)
    next(stream)
    stream.close()
    assert source.ended.is_set()


async def test_an_asynchronous_stream_that_is_closed_early_frees_its_call(source: Source) -> None:
    stream = acount(1000)
    await anext(stream)
    await stream.aclose()
    assert source.ended.is_set()


@pytest.mark.parametrize("start", [count, acount.sync])
def test_a_stream_that_is_left_half_read_frees_its_call(
    source: Source, start: Callable[[int], Stream[int]]
) -> None:
    for _ in start(1000):
        break
    gc.collect()
    assert source.ended.wait(5)


def test_wrong_arguments_are_refused_before_the_first_value(source: Source) -> None:
    with pytest.raises(InvalidInput, match="'n': Input should be a valid integer"):
        count("3")  # type: ignore[arg-type]


def test_a_value_of_another_type_than_declared_is_refused(
    caller: "FakeCaller", source: Source
) -> None:
    async def words(call: Call) -> AsyncGenerator[str, None]:
        yield "word"

    caller.answer = words
    with pytest.raises(InvalidInput, match="'result': int_parsing"):
        next(count(1))


async def test_a_plain_loop_over_a_stream_inside_a_running_loop_names_aio(source: Source) -> None:
    for stream in (count(3), acount.sync(3)):
        with pytest.raises(UsageError, match=r"use `async for \.\.\. in a?count\.aio\(\.\.\.\)`"):
            next(stream)


def test_an_error_comes_after_the_values_before_it(caller: "FakeCaller") -> None:
    caller.answer = lambda call: fail_after(2)
    stream = count(3)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(EndpointUnavailable, match="gone"):
        next(stream)
    assert len(caller.calls) == 1


async def test_a_stream_that_failed_has_no_result(caller: "FakeCaller") -> None:
    caller.answer = lambda call: fail_after(1)
    stream = acount(3)
    await anext(stream)
    with pytest.raises(EndpointUnavailable):
        await anext(stream)
    assert [value async for value in stream] == []
    with pytest.raises(UsageError):
        _ = stream.result


async def test_a_stream_that_was_closed_has_no_result(source: Source) -> None:
    stream = acount(1000)
    await anext(stream)
    await stream.aclose()
    assert [value async for value in stream] == []
    with pytest.raises(UsageError):
        _ = stream.result


async def test_a_stream_that_could_not_start_is_not_started_again(caller: "FakeCaller") -> None:
    def refuse(call: Call) -> None:
        raise EndpointUnavailable("gone")

    caller.answer = refuse
    stream = acount(3)
    for _ in range(3):
        with pytest.raises((EndpointUnavailable, StopAsyncIteration)):
            await anext(stream)
    assert len(caller.calls) == 1


async def test_a_stream_closed_before_its_first_value_calls_nobody(
    caller: "FakeCaller", source: Source
) -> None:
    stream = acount(3)
    await stream.aclose()
    assert [value async for value in stream] == []
    assert caller.calls == []


def test_closing_a_plain_stream_inside_a_running_loop_does_not_hang(caller: "FakeCaller") -> None:
    refused: list[str] = []

    async def close() -> None:
        caller.home = Home.here()
        stream = count(3)
        with pytest.raises(UsageError) as caught:
            stream.close()
        refused.append(str(caught.value))

    thread = threading.Thread(target=lambda: asyncio.run(close()), daemon=True)
    thread.start()
    thread.join(10.0)
    assert ["aclose" in words for words in refused] == [True]
