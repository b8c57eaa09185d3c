import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import Orchestrator, TensorModel
from orchestrator.core.context import opened
from orchestrator.core.errors import DefinitionError, InvalidInput, ServiceFailed, UsageError
from orchestrator.core.labels import Sensitive
from orchestrator.core.service import AsyncService, AsyncStreamService, Service, StreamService
from orchestrator.decorators import cloud_service, decorator, edge_options, edge_service
from orchestrator.testing import fresh_catalogue
from policies.facts import Placement

if TYPE_CHECKING:
    from tests.orchestrator.core.conftest import FakeCaller


@edge_service
def double(x: int) -> int:
    """Return twice the number."""
    return 2 * x


@edge_service
async def adouble(x: int) -> int:
    return 2 * x


@edge_service
def count(n: int) -> Iterator[int]:
    yield from range(n)


@edge_service
async def acount(n: int) -> AsyncIterator[int]:
    for number in range(n):
        yield number


@edge_service
def quadruple(x: int) -> int:
    return double(double(x))


@edge_service
def nest(depth: int) -> int:
    return 1 + nest(depth - 1) if depth else 0


@edge_service
def fan_out(n: int) -> int:
    return sum(double.map(range(n)))


@edge_service
def doubles(n: int) -> Iterator[int]:
    for number in range(n):
        yield double(number)


@edge_service(inline=True)
def hasty(x: int) -> int:
    return double(x)


@cloud_service
def sealed(x: Sensitive[str]) -> Sensitive[str]:
    return x.with_value(x.value)


def defaulted(x: Sensitive[str] = "plain") -> Sensitive[str]:  # type: ignore[assignment]
    return x.with_value(x.value)


def times(factor: int) -> Service[[int], int]:
    @edge_service
    def product(x: int) -> int:
        return factor * x

    return product


def plain(x: int) -> int:
    return x


def on_the_cloud(x: int) -> int:
    return -x


def other_type(x: float) -> int:
    return 0


async def other_kind(x: int) -> int:
    return 0


def test_the_kind_of_a_handle_follows_its_body() -> None:
    assert [type(handle) for handle in (double, adouble, count, acount)] == [
        Service,
        AsyncService,
        StreamService,
        AsyncStreamService,
    ]


def test_a_handle_looks_like_the_function_it_stands_for() -> None:
    assert getattr(double, "__name__", "") == "double"
    assert double.__doc__ == "Return twice the number."
    assert str(inspect.signature(double)) == "(x: int) -> int"


def test_a_blocking_service_is_called_plainly_or_for_a_result(caller: "FakeCaller") -> None:
    caller.answer = lambda call: call.arguments["x"] + 1
    assert double(1) == 2
    result = double.call(x=4)
    assert (result.value, result.node, result.tier, result.attempts) == (
        5,
        "fake",
        "edge",
        ("fake",),
    )
    assert adouble.sync(1) == 2
    assert adouble.sync.call(1).value == 2


async def test_every_service_has_an_asynchronous_view(caller: "FakeCaller") -> None:
    caller.answer = lambda call: call.arguments["x"] + 1
    for handle in (double.aio, adouble, adouble.aio):
        assert await handle(1) == 2
        assert (await handle.call(1)).value == 2


@pytest.mark.parametrize(
    ("block", "name"),
    [
        (lambda: double(1), "double"),
        (lambda: double.call(1), "double"),
        (lambda: adouble.sync(1), "adouble"),
        (lambda: adouble.sync.call(1), "adouble"),
        (lambda: double.options(deadline="1s")(1), "double"),
    ],
)
async def test_a_blocking_call_inside_a_running_loop_names_aio(
    caller: "FakeCaller", block: Callable[[], Any], name: str
) -> None:
    with pytest.raises(UsageError, match=rf"this call blocks.* use `await {name}\.aio\(\.\.\.\)`"):
        block()
    assert caller.calls == []


async def test_a_blocking_call_in_a_thread_beside_the_loop_is_fine(
    caller_here: "FakeCaller",
) -> None:
    assert await asyncio.to_thread(double, 3) == 3


def test_without_an_orchestrator_calls_name_the_cure_and_local_works() -> None:
    with pytest.raises(UsageError, match=r"with Orchestrator\(\)"):
        double(1)
    assert double.local(3) == 6
    assert asyncio.run(adouble.local(3)) == 6
    assert list(count.local(3)) == [0, 1, 2]


async def test_local_is_the_plain_body_without_checks() -> None:
    assert double.local("ab") == "abab"  # type: ignore[arg-type, comparison-overlap]
    assert [number async for number in acount.local(2)] == [0, 1]


def test_local_of_a_model_service_gives_no_coroutine() -> None:
    predict = edge_service(TensorModel("net"))
    with pytest.raises(UsageError, match=r"cloud_service\(model\)"):
        predict.local({}).close()  # type: ignore[attr-defined]


def test_streams_have_no_call_and_no_map() -> None:
    for handle in (count, acount):
        assert not hasattr(handle, "call")
        assert not hasattr(handle, "map")


def test_a_tier_that_does_not_exist_is_refused() -> None:
    anywhere = edge_service(plain, overflow="cloud")
    with pytest.raises(UsageError, match="moon"):
        anywhere.options(tier="moon")  # type: ignore[arg-type]


def test_options_change_the_terms_of_one_call_only(caller: "FakeCaller") -> None:
    anywhere = edge_service(plain, overflow="cloud")
    anywhere.options(deadline="300ms", tier="cloud")(1)
    anywhere(1)
    changed, usual = caller.calls
    assert changed.deadline.left() == pytest.approx(0.3)
    assert changed.placement == Placement("cloud")
    assert usual.deadline.left() == pytest.approx(30.0)
    assert usual.placement == Placement("edge", "overflow")


def test_options_may_be_given_one_after_the_other(caller: "FakeCaller") -> None:
    anywhere = edge_service(plain, fallback="cloud")
    anywhere.options(deadline=2).options(tier="edge")(1)
    assert caller.calls[0].deadline.left() == pytest.approx(2.0)
    assert caller.calls[0].placement == Placement("edge")


async def test_options_hold_for_every_view(caller: "FakeCaller") -> None:
    await adouble.options(deadline="1s").aio(1)
    await double.options(deadline="1s").aio(1)
    _ = [answer async for answer in double.options(deadline="1s").aio.map([1])]
    assert {round(call.deadline.left(), 3) for call in caller.calls} == {1.0}


def test_a_tier_the_service_did_not_open_itself_to_names_the_cure() -> None:
    with pytest.raises(
        UsageError, match="double stays on the edge: its decorator must say overflo"
    ):
        double.options(tier="cloud")
    with pytest.raises(UsageError, match='overflow="edge" or fallback="edge"'):
        sealed.options(tier="edge")


@pytest.mark.parametrize("deadline", ["soon", 0, -1.0])
def test_a_deadline_that_is_none_is_refused_at_once(deadline: str | float) -> None:
    with pytest.raises(UsageError, match="is no duration"):
        double.options(deadline=deadline)


def test_a_tier_may_have_its_own_body_of_the_same_signature() -> None:
    anywhere = edge_service(plain, overflow="cloud")
    assert anywhere.on("cloud")(on_the_cloud) is anywhere
    assert anywhere.declaration.body_on("cloud") is on_the_cloud
    assert anywhere.local(2) == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (other_type, r"on the cloud is function \(x: float\) -> int, the service is function \(x:"),
        (other_kind, r"is coroutine \(x: int\) -> int, the service is function"),
        (lambda x: x, "has no annotation"),
    ],
)
def test_a_body_of_another_signature_is_refused(body: Callable[..., Any], said: str) -> None:
    anywhere = edge_service(plain, overflow="cloud")
    with pytest.raises(DefinitionError, match=said):
        anywhere.on("cloud")(body)
    assert anywhere.declaration.bodies == {}


def test_a_body_for_a_tier_the_service_never_runs_on_is_refused() -> None:
    with pytest.raises(DefinitionError, match="double never runs on the cloud"):
        double.on("cloud")(on_the_cloud)


def test_a_service_of_an_open_orchestrator_is_called_through_it(caller: "FakeCaller") -> None:
    own = type(caller)(caller.home)
    bound = decorator(edge_options, "edge", own)(plain)
    assert bound(1) == 1
    assert len(caller.calls) == 1
    with opened(own), opened(type(caller)(caller.home)):
        assert bound(1) == 1
    assert (len(caller.calls), len(own.calls)) == (1, 1)


def test_errors_of_arguments_come_before_any_waiting(caller: "FakeCaller") -> None:
    with pytest.raises(InvalidInput, match=r"double\(x: int\) -> int: missing a required argument"):
        double()  # type: ignore[call-arg]


def test_a_whole_path_in_this_process() -> None:
    with Orchestrator(app=[double, adouble, count, acount, quadruple]):
        assert double(3) == 6
        assert adouble.sync(3) == 6
        assert quadruple(3) == 12
        assert list(count(3)) == list(acount.sync(3)) == [0, 1, 2]
        result = double.call(3)
    assert (result.tier, result.attempts) == ("edge", ("edge",))
    assert "double: label public" in result.decision.explain()


def test_nested_calls_deeper_and_wider_than_the_pool_do_not_stall_it() -> None:
    with Orchestrator(app=[double, nest, fan_out, doubles]):
        assert nest(30) == 30
        assert list(fan_out.map([20] * 20)) == [380] * 20
        streams = [doubles(3) for _ in range(20)]
        assert [next(stream) for stream in streams] == [0] * 20
        assert [list(stream) for stream in streams] == [[2, 4]] * 20


async def test_a_whole_path_on_the_loop_that_opened_the_orchestrator() -> None:
    async with Orchestrator(app=[double]):
        assert await double.aio(3) == 6
        assert await adouble(3) == 6
        assert [number async for number in acount(3)] == [0, 1, 2]
        assert await asyncio.to_thread(quadruple, 3) == 12
        with pytest.raises(UsageError, match=r"double\.aio"):
            double(3)
    with pytest.raises(UsageError, match="no orchestrator is open"):
        await double.aio(3)


async def test_an_orchestrator_of_a_plain_program_serves_other_loops() -> None:
    with pytest.raises(UsageError, match="`async with`"), Orchestrator(app=[double]):
        pass
    orchestrator = Orchestrator(app=[double])
    await asyncio.to_thread(orchestrator.__enter__)
    try:
        assert await double.aio(3) == 6
        assert [answer async for answer in double.aio.map(range(3))] == [0, 2, 4]
    finally:
        await asyncio.to_thread(orchestrator.__exit__)


def test_a_cheap_body_on_the_loop_may_not_block_it() -> None:
    with Orchestrator(app=[double, hasty]), pytest.raises(ServiceFailed) as failed:
        hasty(1)
    assert isinstance(failed.value.__cause__, UsageError)
    assert "double.aio" in str(failed.value.__cause__)


def test_a_service_met_late_never_runs_the_body_of_a_namesake() -> None:
    twice = times(2)
    with fresh_catalogue():
        thrice = times(3)
    with Orchestrator(app=[twice]):
        assert twice(1) == 2
        with pytest.raises(DefinitionError, match="two services are named"):
            thrice(1)


def test_a_plain_default_of_a_labelled_parameter_is_wrapped_like_an_argument() -> None:
    with Orchestrator(app=[]), suppress(DefinitionError):
        assert edge_service(defaulted)().reveal("test") == "plain"


@edge_service
def bottom_step(number: int) -> int:
    return number


@edge_service
def middle_step(number: int) -> int:
    return bottom_step(number)


@edge_service
def top_step(number: int) -> int:
    return middle_step(number)


@edge_service
async def endless(number: int) -> int:
    return await endless(number + 1)


def test_more_nested_calls_than_a_node_may_hold_do_not_wait_for_each_other() -> None:
    with Orchestrator(app=[bottom_step, middle_step, top_step]):
        assert list(top_step.map(range(300))) == list(range(300))


def test_a_service_that_calls_itself_without_end_is_told_so() -> None:
    with Orchestrator(app=[endless]):
        with pytest.raises(ServiceFailed) as caught:
            endless.sync(0)
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, UsageError):
        error = error.__cause__
    assert "does a service call itself" in str(error)
