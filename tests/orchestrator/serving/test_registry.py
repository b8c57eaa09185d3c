from collections.abc import Iterator

import pytest

from orchestrator.core.apps import declarations_of
from orchestrator.core.errors import InvalidInput, NoRoute
from orchestrator.core.methods import method
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.serving.registry import Registry

made: list[str] = []


@edge_service(overflow="cloud")
def double(number: int) -> int:
    return 2 * number


@double.on("cloud")
def _double_in_the_cloud(number: int) -> int:
    return 2000 * number


@edge_service
def letters(text: str) -> Iterator[str]:
    yield from text


@cloud_service
class Ranker:
    def __init__(self) -> None:
        made.append("made")

    @method
    def score(self, text: str) -> float:
        return float(len(text))

    @method
    def name(self) -> str:
        return f"ranker {id(self)}"


async def registry_of(tier: str, *services: object) -> Registry:
    registry = Registry("edge" if tier == "edge" else "cloud")
    for declaration in declarations_of(services):
        await registry.add(declaration)
    return registry


async def test_each_tier_runs_its_own_body() -> None:
    for tier, answer in (("edge", 4), ("cloud", 4000)):
        served = (await registry_of(tier, double)).find("double", "", stream=False)
        assert served.body(2) == answer


async def test_the_constructor_of_a_class_runs_once_for_all_its_methods() -> None:
    made.clear()
    registry = await registry_of("cloud", Ranker)
    names = {registry.find("Ranker.name", "", stream=False).body() for _ in range(3)}
    assert registry.find("Ranker.score", "", stream=False).body("four") == 4.0
    assert (made, len(names)) == (["made"], 1)


async def test_an_unknown_service_is_no_route() -> None:
    registry = await registry_of("edge", double)
    with pytest.raises(NoRoute, match="does not serve that service"):
        registry.find("triple", "", stream=False)


async def test_another_version_is_no_route_and_names_the_one_that_is_served() -> None:
    registry = await registry_of("edge", double)
    assert registry.find("double", double.spec.version, stream=False).spec is double.spec
    with pytest.raises(NoRoute, match=f"version {double.spec.version} of it: update the older"):
        registry.find("double", "0123456789ab", stream=False)


async def test_the_wrong_kind_of_call_is_told_the_right_one() -> None:
    registry = await registry_of("edge", double, letters)
    with pytest.raises(InvalidInput, match="double is called by Invoke"):
        registry.find("double", "", stream=True)
    with pytest.raises(InvalidInput, match="letters is called by Stream"):
        registry.find("letters", "", stream=False)


async def test_the_name_of_an_unknown_service_is_not_counted() -> None:
    registry = await registry_of("edge", double)
    assert registry.name_of("double") == "double"
    assert registry.name_of("label injection\n") == "unknown"


async def test_reports_tell_what_a_caller_must_know() -> None:
    registry = await registry_of("edge", double, letters)
    first, second = registry.reports
    assert (first.name, first.version, first.stream) == ("double", double.spec.version, False)
    assert (second.signature, second.stream) == ("(text: str) -> str", True)
