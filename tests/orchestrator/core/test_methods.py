import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, ClassVar

import pytest

from orchestrator import Orchestrator
from orchestrator.core.errors import DefinitionError, OrchestratorError, UsageError
from orchestrator.core.methods import handles_of, method
from orchestrator.core.service import AsyncService, AsyncStreamService, Service, StreamService
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.testing import running_node

if TYPE_CHECKING:
    from tests.orchestrator.core.conftest import FakeCaller


@edge_service(overflow="cloud")
class Ranker:
    """Ranks by a weight that its constructor loads."""

    made: ClassVar[list[int]] = []

    def __init__(self) -> None:
        self.made.append(1)
        self.weight = 3

    @method
    def score(self, x: int) -> int:
        """Return the score."""
        return self.plain(x)

    @method
    async def ascore(self, x: int) -> int:
        return self.weight * x

    @method
    def steps(self, n: int) -> Iterator[int]:
        yield from range(0, n * self.weight, self.weight)

    @method
    async def asteps(self, n: int) -> AsyncIterator[int]:
        for number in self.steps(n):
            yield number

    def plain(self, x: int) -> int:
        return self.weight * x


class Better(Ranker):
    def plain(self, x: int) -> int:
        return -x


class Undecorated:
    @method
    def score(self, x: int) -> int:
        return x


@edge_service
class Broken:
    def __init__(self) -> None:
        raise OSError("no weights here")

    @method
    def score(self, x: int) -> int:
        return x


def test_on_the_class_every_kind_of_method_is_a_service() -> None:
    assert [type(handle) for handle in handles_of(Ranker)] == [
        AsyncService,
        AsyncStreamService,
        Service,
        StreamService,
    ]
    assert Ranker.score.spec.name == "Ranker.score"
    assert Ranker.score.spec.schema.text == "(x: int) -> int"
    assert Ranker.score.__doc__ == "Return the score."


async def test_on_an_instance_a_method_is_plain() -> None:
    ranker = Ranker()
    assert ranker.score(2) == 6
    assert await ranker.ascore(2) == 6
    assert list(ranker.steps(3)) == [0, 3, 6]


def test_a_method_is_called_like_every_service(caller: "FakeCaller") -> None:
    assert Ranker.score(5) == 5
    assert caller.calls[0].service == "Ranker.score"
    assert caller.calls[0].arguments == {"x": 5}
    assert caller.prepared == ["Ranker.score"]


async def test_a_blocking_method_inside_a_running_loop_names_aio(caller: "FakeCaller") -> None:
    with pytest.raises(UsageError, match=r"`await Ranker\.score\.aio\(\.\.\.\)`"):
        Ranker.score(1)


def test_local_makes_an_instance_and_runs_the_plain_body() -> None:
    assert Ranker.score.local(2) == 6
    assert asyncio.run(Ranker.ascore.local(2)) == 6


def test_one_instance_a_node_serves_all_methods() -> None:
    Ranker.made.clear()
    with Orchestrator(app=[Ranker]):
        assert Ranker.made == [1, 1]
        assert Ranker.score(2) == Ranker.ascore.sync(2) == 6
        assert list(Ranker.steps(3)) == list(Ranker.asteps.sync(3)) == [0, 3, 6]
    assert Ranker.made == [1, 1]


async def test_methods_of_one_class_share_their_instance() -> None:
    Ranker.made.clear()
    async with running_node("edge", Ranker) as node:
        assert len(node.report().services) == 4
    assert Ranker.made == [1]


def test_a_class_without_its_decorator_names_the_cure() -> None:
    with pytest.raises(UsageError, match="Undecorated is no service yet: decorate the class with"):
        _ = Undecorated.score
    assert Undecorated().score(1) == 1
    assert handles_of(Undecorated) == []


def test_a_subclass_has_services_of_its_own_once_it_is_decorated() -> None:
    with pytest.raises(UsageError, match="Better is no service yet"):
        _ = Better.score
    assert Better().score(1) == -1
    decorated = cloud_service(name="better")(Better)
    assert decorated.score.spec.name == "better.score"
    assert decorated.score.spec.placement.home == "cloud"
    assert Ranker.score.spec.name == "Ranker.score"


def test_only_services_and_their_classes_have_handles() -> None:
    assert handles_of(Ranker.score) == [Ranker.score]
    for thing in (Ranker(), int, "Ranker", None, handles_of, [Ranker]):
        assert handles_of(thing) == []


def test_a_method_has_no_body_of_its_own_for_one_tier() -> None:
    with pytest.raises(DefinitionError):
        Ranker.score.on("cloud")(lambda x: x)


def test_a_constructor_that_fails_is_an_error_of_the_library_that_names_the_class() -> None:
    with pytest.raises(OrchestratorError, match="Broken"), Orchestrator(app=[Broken]):
        pass


def test_tools_may_look_at_a_class_that_is_no_service_yet() -> None:
    assert not hasattr(Undecorated, "score")
    assert dict(inspect.getmembers(Undecorated))
