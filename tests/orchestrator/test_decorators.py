# mypy: disable-error-code="empty-body"
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator import EdgeCloudOrchestrator, Orchestrator, TensorModel, TextEmbedding
from orchestrator.core.catalogue import declared
from orchestrator.core.errors import DefinitionError
from orchestrator.core.labels import Labelled, Secret, Sensitive
from orchestrator.core.methods import method
from orchestrator.core.service import Handle, Service
from orchestrator.decorators import cloud_service, edge_service
from policies.facts import Placement, Spread

T = TypeVar("T")
HERE = Path(__file__)


def plain(x: int) -> int:
    return x


def private(x: Sensitive[str]) -> str:
    return x.value


def private_in_and_out(x: Sensitive[str]) -> Sensitive[str]:
    return x


def takes_nothing() -> int: ...
def private_in(x: Sensitive[str]) -> None: ...
def private_inside(x: list[dict[str, Secret[str]]]) -> int: ...
def private_stream(x: Sensitive[str]) -> Iterator[str]:
    yield x.value


def half_private(x: Sensitive[str]) -> tuple[str, Sensitive[str]]:
    return x.value, x


def takes_any(x: Any) -> None: ...
def takes_object(x: object) -> None: ...
def takes_type_variable(x: T) -> T:
    return x


def takes_bare(x) -> None: ...  # type: ignore[no-untyped-def]
def gives_bare(x: int): ...  # type: ignore[no-untyped-def]
def gives_any(x: int) -> Any: ...
def takes_many(*xs: int) -> None: ...
def takes_options(**xs: int) -> None: ...
def takes_list(x: list) -> None: ...  # type: ignore[type-arg]
def takes_tuple_keys(x: dict[tuple[int, int], str]) -> None: ...
def takes_stranger(x: "Undeclared") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def takes_open_envelope(x: Labelled) -> None: ...  # type: ignore[type-arg]
def takes_path(x: Path) -> None: ...


class Plain:
    def score(self, x: int) -> int:
        return x


class Wrong:
    @method
    def score(self, x: Any) -> int:
        return 0


class NeedsWeights:
    def __init__(self, weights: str) -> None:
        self.weights = weights

    @method
    def score(self, x: int) -> int:
        return x


class Lenient:
    def __init__(self, *args: object, **options: object) -> None: ...

    @method
    def score(self, x: int) -> int:
        return x


class Mapped(dict[str, int]):
    @method
    def score(self, x: int) -> int:
        return x


class Two:
    def __init__(self, size: int = 3) -> None: ...

    @method
    def first(self, x: int) -> int:
        return x

    @method
    def second(self, x: int) -> int:
        return x


class Static:
    @method
    @staticmethod
    def score(x: int) -> int:
        return x


class Forgotten:
    try:

        @edge_service
        def score(self, x: int) -> int:
            return x

        problem = ""
    except DefinitionError as error:
        problem = str(error)


def test_brackets_may_be_left_out() -> None:
    bare, empty, told = edge_service(plain), edge_service(name="b"), edge_service(plain, name="c")
    assert isinstance(bare, Service)
    assert [bare.spec.name, empty(plain).spec.name, told.spec.name] == ["plain", "b", "c"]


def test_a_decorator_with_options_may_be_kept_for_many_services() -> None:
    quick = edge_service(deadline="50ms")
    for body in (plain, takes_nothing):
        assert quick(body).spec.deadline == pytest.approx(0.05)


def test_a_decorator_with_options_may_be_told_more_as_its_type_says() -> None:
    quick = edge_service(deadline="50ms")
    assert quick(plain, name="one").spec.deadline == pytest.approx(0.05)
    assert quick(name="other")(plain).spec.name == "other"


@pytest.mark.parametrize(
    ("declare", "home", "spread"),
    [
        (edge_service, "edge", "home"),
        (cloud_service, "cloud", "home"),
        (edge_service(overflow="cloud"), "edge", "overflow"),
        (edge_service(fallback="cloud"), "edge", "fallback"),
        (cloud_service(overflow="edge"), "cloud", "overflow"),
        (cloud_service(fallback="edge"), "cloud", "fallback"),
    ],
)
def test_the_decorator_names_the_home_and_how_far_it_may_be_left(
    declare: Callable[[Callable[[int], int]], Service[[int], int]], home: Any, spread: Spread
) -> None:
    assert declare(plain).spec.placement == Placement(home, spread)


def test_a_declaration_remembers_where_it_stands_and_what_it_was_told() -> None:
    minilm = TextEmbedding("minilm")
    spec = edge_service(plain, models=[minilm], deadline="2s", idempotent=True, inline=True).spec
    assert Path(spec.where.rpartition(":")[0]) == HERE
    assert spec.module == __name__
    assert (spec.models, spec.deadline, spec.idempotent, spec.inline) == (
        (minilm,),
        2.0,
        True,
        True,
    )
    assert [declaration.spec for declaration in declared()] == [spec]


def test_running_twice_does_harm_unless_said_otherwise() -> None:
    assert not edge_service(plain).spec.idempotent
    assert cloud_service(TextEmbedding("a")).spec.idempotent
    assert not cloud_service(TextEmbedding("b"), idempotent=False).spec.idempotent


def test_a_model_is_the_shortest_service() -> None:
    minilm = TextEmbedding("minilm")
    handle = cloud_service(minilm, overflow="edge")
    assert (handle.spec.name, handle.spec.models) == ("minilm", (minilm,))
    assert handle.spec.schema.text == "(texts: list[str]) -> ndarray[float32, any]"
    assert handle.spec.module == __name__
    assert Path(handle.spec.where.rpartition(":")[0]) == HERE


def test_an_orchestrators_own_decorators_are_the_same() -> None:
    eco = EdgeCloudOrchestrator(edge_nodes=["127.0.0.1:1"], cloud_zone="127.0.0.1:2")
    handle = eco.cloud_service(overflow="edge", name="x")(plain)
    assert handle.spec.placement == Placement("cloud", "overflow")
    assert Orchestrator().edge_service(plain).spec.placement == Placement("edge")
    model = eco.cloud_service(TextEmbedding("minilm"))
    assert Path(model.spec.where.rpartition(":")[0]) == HERE


@pytest.mark.parametrize(
    ("body", "cure"),
    [
        (takes_any, "takes_any: parameter 'x' is annotated .*Any.* a service takes and gives"),
        (takes_object, "takes_object: parameter 'x' is annotated .*a service takes and gives"),
        (takes_type_variable, "parameter 'x' is annotated ~T, which names no one type"),
        (takes_bare, "takes_bare: parameter 'x' has no annotation"),
        (gives_bare, "gives_bare: its result has no annotation; write -> None if it has none"),
        (gives_any, "gives_any: its result is annotated .*Any.* a service takes and gives"),
        (takes_many, r"takes_many takes \*xs: spell its parameters out"),
        (takes_options, r"takes_options takes \*xs: spell its parameters out"),
        (takes_list, r"is annotated list alone: say what it holds, list\[str\]"),
        (takes_tuple_keys, r"has keys of type tuple\[int, int\]: use str or int"),
        (takes_stranger, "'Undeclared' is not defined where it is declared; declare that type abo"),
        (takes_open_envelope, r"is annotated Labelled alone: say what it holds, Labelled\[str\]"),
        (takes_path, "Path, which cannot travel: .* register_codec adds a type"),
        (private, "private takes labelled data and gives str: label its result, or declare"),
        (private_inside, "takes labelled data and gives int: label its result, or declare decl"),
        (private_stream, "takes labelled data and gives str: label its result, or declare decl"),
        (lambda x: x, "<lambda>.* has no annotation"),
        (functools.partial(plain, 1), "cannot be a service: take a function, a class or a model"),
        (print, "cannot be a service: take a function, a class or a model"),
        ("cloud", "cannot be a service: take a function, a class or a model"),
        (Plain().score, "cannot be a service: take a function, a class or a model"),
        (Plain, "Plain has no service: mark its methods with @method"),
        (Wrong, r"Wrong\.score: parameter 'x' is annotated .*Any"),
        (NeedsWeights, r"NeedsWeights\(\) takes arguments: every node makes one instance by itse"),
        (Static, "cannot be a service: take a function"),
    ],
)
@pytest.mark.parametrize("declare", [edge_service, cloud_service])
def test_what_cannot_be_served_names_the_cure(declare: Any, body: Any, cure: str) -> None:
    with pytest.raises(DefinitionError, match=cure):
        declare(body)
    assert declared() == []


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        (
            {"overflow": "cloud", "fallback": "cloud"},
            "fallback keeps the other for need: choose one",
        ),
        ({"overflow": "edge"}, "the edge is the service's home: name the other tier"),
        ({"fallback": "edge"}, "the edge is the service's home: name the other tier"),
        ({"deadline": "soon"}, r'\'soon\' is no duration: write "300ms", "1\.5s", "2m" or seconds'),
        ({"deadline": 0}, "0 is no duration"),
        ({"deadline": True}, "deadline= takes seconds or text"),
        ({"idempotent": "no"}, "idempotent= takes True or False, not str"),
        ({"inline": "no"}, "inline= takes True or False, not str"),
        ({"name": 3}, "name= takes text, not int"),
        ({"declassifies": True}, "plain declassifies, but takes nothing labelled"),
    ],
)
def test_options_that_contradict_name_the_cure(options: dict[str, Any], cure: str) -> None:
    with pytest.raises(DefinitionError, match=cure):
        edge_service(**options)(plain)


def test_a_declassifier_is_one_only_by_a_plain_yes() -> None:
    with pytest.raises(DefinitionError, match="declassifies= takes True or False, not str"):
        edge_service(private, declassifies="no")  # type: ignore[call-overload]


def test_a_service_is_no_body_for_another_service() -> None:
    handle = edge_service(plain)
    with pytest.raises(DefinitionError, match="cannot be a service"):
        edge_service(handle)


def test_two_services_of_one_name_show_both_places() -> None:
    edge_service(plain, name="one")
    with pytest.raises(DefinitionError) as refused:
        edge_service(private_in, name="one")
    said = str(refused.value)
    assert said.startswith("two services are named 'one': ")
    assert said.count(f"{HERE}:") == 2
    assert "give one of them another with name=" in said


def test_labelled_in_and_nothing_or_labelled_out_needs_no_declassifier() -> None:
    assert edge_service(private_in).spec.schema.takes_labels
    assert cloud_service(private_in_and_out).spec.schema.result.labelled


def test_labelled_in_and_plain_out_is_a_declassifier_at_the_edge() -> None:
    assert edge_service(private, declassifies=True).spec.declassifies
    with pytest.raises(DefinitionError, match="a declassifier runs at the edge"):
        cloud_service(private, declassifies=True)  # type: ignore[call-overload]


def test_a_class_serves_every_marked_method_with_the_same_options() -> None:
    decorated = cloud_service(deadline="1s", overflow="edge", name="pair")(Two)
    assert decorated is Two
    handles: list[Handle[..., Any]] = [decorated.first, decorated.second]
    assert [handle.spec.name for handle in handles] == ["pair.first", "pair.second"]
    assert {handle.spec.deadline for handle in handles} == {1.0}
    assert {handle.spec.placement for handle in handles} == {Placement("cloud", "overflow")}


def test_nothing_but_the_catalogue_changes_when_a_service_is_declared() -> None:
    edge_service(plain, models=[TextEmbedding("no such model")], name="dear")
    assert [declaration.spec.name for declaration in declared()] == ["dear"]


def test_a_tensor_model_takes_arrays_by_name() -> None:
    spec = edge_service(TensorModel("net")).spec
    array: NDArray[np.float32] = np.zeros(2, np.float32)
    assert spec.schema.bind(({"x": array},), {})["inputs"]["x"] is array


@pytest.mark.parametrize("spread", ["overflow", "fallback"])
def test_a_declassifier_runs_on_the_edge_only(spread: str) -> None:
    options: dict[str, Any] = {spread: "cloud"}
    with pytest.raises(DefinitionError):
        edge_service(private, declassifies=True, **options)


def test_a_result_that_is_plain_in_part_needs_a_declassifier() -> None:
    with pytest.raises(DefinitionError, match="label its result"):
        edge_service(half_private)


@pytest.mark.parametrize("option", ["overflow", "fallback"])
def test_a_tier_that_does_not_exist_is_refused(option: str) -> None:
    options: dict[str, Any] = {option: "moon"}
    with pytest.raises(DefinitionError, match="moon"):
        edge_service(plain, **options)


@pytest.mark.parametrize("models", ["minilm", TextEmbedding("minilm"), ["minilm"]])
def test_models_that_are_none_are_refused(models: Any) -> None:
    with pytest.raises(DefinitionError, match="models"):
        edge_service(plain, models=models)


def test_models_of_a_class_may_come_from_a_generator() -> None:
    edge_service(models=(TextEmbedding(name) for name in "ab"))(Two)
    assert len(Two.second.spec.models) == 2


def test_a_constructor_that_needs_no_argument_may_take_any() -> None:
    assert edge_service(Lenient).score.spec.name == "Lenient.score"


def test_a_class_that_inherits_from_a_builtin_is_served() -> None:
    assert edge_service(Mapped).score.spec.name == "Mapped.score"


def test_a_service_inside_a_class_is_told_about_method() -> None:
    assert "@method" in Forgotten.problem


def test_a_cloud_service_says_what_becomes_of_what_may_not_leave() -> None:
    assert cloud_service(private_in_and_out).spec.privacy == "refuse"
    told = cloud_service(private_in_and_out, privacy="pseudonymise", name="a").spec
    assert (told.privacy, told.version) == (
        "pseudonymise",
        cloud_service(private_in_and_out, name="b").spec.version,
    )
    stays = cloud_service(private_in_and_out, privacy="local", name="c").spec
    assert [stays.runs_on(tier) for tier in ("edge", "cloud")] == [True, True]
    assert not told.runs_on("edge")
    assert stays.placement == Placement("cloud")


@pytest.mark.parametrize(
    ("body", "options", "cure"),
    [
        (plain, {"privacy": "local"}, "plain takes nothing labelled, so privacy='local' has noth"),
        (plain, {"privacy": "pseudonymise"}, "label a parameter, such as Sensitive"),
        (TextEmbedding("m"), {"privacy": "pseudonymise"}, "m takes nothing labelled"),
        (private_in_and_out, {"privacy": "hide"}, "say 'refuse', 'local', 'pseudonymise'"),
        (private_in_and_out, {"privacy": None}, "privacy=None: say 'refuse'"),
        (private, {"privacy": "pseudonymise"}, "takes labelled data and gives str: label its resu"),
        (half_private, {"privacy": "pseudonymise"}, "label its result"),
        (
            private_in_and_out,
            {"privacy": "local", "fallback": "edge"},
            'labelled calls stay at the edge by themselves: leave privacy="local" out',
        ),
    ],
)
def test_a_word_on_privacy_that_makes_no_sense_names_the_cure(
    body: Any, options: dict[str, Any], cure: str
) -> None:
    with pytest.raises(DefinitionError, match=cure):
        cloud_service(body, **options)
    assert declared() == []


def test_an_edge_service_keeps_its_data_anyway() -> None:
    declare: Any = edge_service
    with pytest.raises(DefinitionError, match="leave it out, or use @cloud_service"):
        declare(private_in_and_out, privacy="pseudonymise")


def test_a_service_that_stays_may_have_a_body_of_its_own_at_the_edge() -> None:
    stays = cloud_service(private_in_and_out, privacy="local")
    stays.on("edge")(private_in_and_out)
    assert set(stays.declaration.bodies) == {"edge"}
