import dataclasses
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, NewType, TypeVar
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from orchestrator.core.annotations import Reading, read
from orchestrator.core.errors import DefinitionError
from orchestrator.core.labels import Internal, Labelled, Secret, Sensitive
from policies.facts import Level

T = TypeVar("T")
Bounded = TypeVar("Bounded", bound=str)
UserId = NewType("UserId", int)


class Colour(Enum):
    RED = 1
    BLUE = 2


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict):
    depth: int


class OldOptions(typing.TypedDict):
    depth: int


class Half(typing.TypedDict, total=False):
    depth: typing.Required[int]


class Ticket(BaseModel):
    text: Sensitive[str]
    tags: list[str] = []


@dataclasses.dataclass
class Tree:
    value: Internal[int]
    children: list["Tree"]


@dataclasses.dataclass
class WithAny:
    inner: dict[str, Any]


@dataclasses.dataclass
class WithClassVar:
    count: ClassVar[int] = 0
    size: int = 1


@dataclasses.dataclass
class WithKeywords:
    _: dataclasses.KW_ONLY
    size: int = 1


@dataclasses.dataclass
class Dangling:
    other: "Nowhere"  # type: ignore[name-defined]  # noqa: F821


class Stranger:
    pass


def of(container: Any, *parts: Any) -> Any:
    """Return an annotation that is made while the test runs."""
    return container[parts if len(parts) > 1 else parts[0]]


def check(annotation: Any, value: Any) -> Any:
    config = ConfigDict(arbitrary_types_allowed=True)
    schema = of(list, read(annotation, "f: x").schema)
    return TypeAdapter(schema, config=config).validate_python([value])[0]


class Others:
    class Colour(Enum):
        RED = 10
        BLUE = 20


ENVELOPES: dict[Any, Level] = {
    Internal: Level.INTERNAL,
    Sensitive: Level.SENSITIVE,
    Secret: Level.SECRET,
}


def wrapped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Containers around annotations, each with whether it is labelled and how high."""
    return st.one_of(
        inner.map(lambda p: (of(list, p[0]), *p[1:])),
        inner.map(lambda p: (of(dict, str, p[0]), *p[1:])),
        inner.map(lambda p: (of(tuple, p[0], ...), *p[1:])),
        inner.map(lambda p: (p[0] | None, *p[1:])),
        st.tuples(inner, inner).map(
            lambda p: (of(tuple, p[0][0], p[1][0]), p[0][1] or p[1][1], max(p[0][2], p[1][2]))
        ),
    )


leaves = st.sampled_from([int, str, bytes, float, bool]).map(lambda kind: (kind, False, 0))
sealed = st.tuples(st.sampled_from(list(ENVELOPES)), leaves).map(
    lambda p: (p[0][p[1][0]], True, ENVELOPES[p[0]])
)
annotations = st.recursive(leaves | sealed, wrapped, max_leaves=6)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (None, "None"),
        (int, "int"),
        (str | None, "str | None"),
        (list[dict[str, int]], "list[dict[str, int]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Sequence[bytes], "Sequence[bytes]"),
        (Mapping[int, UUID], "Mapping[int, UUID]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (UserId, "int"),
        (Annotated[float, Field(gt=0)], "float"),
        (Colour, "Colour[RED=1, BLUE=2]"),
        (Pair, "Pair(left: int, right: str)"),
        (set[Decimal | datetime], "set[Decimal | datetime]"),
        (Ticket, "Ticket(text: Sensitive[str], tags: list[str])"),
        (Tree, "Tree(value: Internal[int], children: list[Tree])"),
        (Labelled[Ticket], "Labelled[Ticket(text: Sensitive[str], tags: list[str])]"),
        (np.ndarray, "ndarray[any, any]"),
        (NDArray[np.float32], "ndarray[float32, any]"),
        (NDArray[Any], "ndarray[any, any]"),
        (np.ndarray[tuple[int, int], np.dtype[np.int64]], "ndarray[int64, 2]"),
    ],
)
def test_what_can_travel_has_a_canonical_text(annotation: Any, text: str) -> None:
    assert read(annotation, "f: x").text == text


@given(annotations)
def test_a_label_is_found_at_any_depth_and_the_highest_counts(
    case: tuple[Any, bool, Level],
) -> None:
    annotation, labelled, level = case
    found = read(annotation, "f: x")
    assert (found.labelled, found.level) == (labelled, level)


@pytest.mark.parametrize("annotation", [Ticket, list[Tree], Labelled[int] | None])
def test_labels_in_fields_and_unions_are_found(annotation: Any) -> None:
    assert read(annotation, "f: x").labelled


def test_a_parameter_for_any_label_declares_no_level() -> None:
    assert read(Labelled[int], "f: x") == Reading(
        "Labelled[int]",
        Labelled[int],
        "envelope",
        labelled=True,
        sealed=True,
        level=Level.PUBLIC,
        highest=Level.SECRET,
    )
    assert read(tuple[Labelled[int], list[Internal[str]]], "f: x").highest == Level.SECRET
    assert read(tuple[int, list[Internal[str]]], "f: x").highest == Level.INTERNAL


@pytest.mark.parametrize(
    "annotation",
    [
        *(Any, object, T, Bounded, list[Any], dict[str, object], Sensitive[Any], of(list, T)),
        *(WithAny, int | Any, Annotated[Any, Field()], tuple[int, Any], "int", 5, ...),
    ],
)
def test_what_would_accept_an_envelope_or_lose_the_type_names_no_one_type(annotation: Any) -> None:
    with pytest.raises(
        DefinitionError, match=r"which (names no one type|cannot travel): a service"
    ):
        read(annotation, "f: parameter 'x'")


@pytest.mark.parametrize(
    "annotation",
    [
        *(Stranger, complex, np.float32, bytearray, Iterable[int], Callable[[int], int]),
        *(type[int], list[Stranger], frozenset[range], Exception),
    ],
)
def test_what_cannot_travel_names_register_codec(annotation: Any) -> None:
    with pytest.raises(DefinitionError, match=r"f: parameter 'x' is annotated .*register_codec"):
        read(annotation, "f: parameter 'x'")


@pytest.mark.parametrize("annotation", [list, dict, tuple, set, Sequence, Sensitive, Labelled])
def test_a_container_alone_is_asked_what_it_holds(annotation: Any) -> None:
    name = annotation.__name__
    with pytest.raises(DefinitionError, match=rf"is annotated {name} alone: say what it holds"):
        read(annotation, "f: x")


@pytest.mark.parametrize("key", [tuple[int, int], float, bool, bytes, Colour, Sensitive[str]])
def test_keys_that_json_does_not_know_are_refused(key: Any) -> None:
    with pytest.raises(DefinitionError, match=r"f: x has keys of type .*: use str or int"):
        read(dict[key, int], "f: x")


def test_an_error_deep_inside_names_the_field() -> None:
    with pytest.raises(DefinitionError, match="f: x, field 'inner' of WithAny, is annotated"):
        read(list[WithAny], "f: x")


@pytest.mark.parametrize(
    ("annotation", "array", "said"),
    [
        (NDArray[np.float32], np.zeros(2), "the array is float64, not float32: use .astype"),
        (NDArray[np.integer], np.zeros(2), "the array is float64, not integer: use .astype"),
        (
            np.ndarray[tuple[int, int], np.dtype[np.float64]],
            np.zeros(2),
            "the array has 1 axes, not 2: use .reshape",
        ),
        (np.ndarray, np.array(["a"]), "cannot travel: use numbers or bool"),
        (np.ndarray, np.array([object()]), "an array of object cannot travel"),
        (np.ndarray, np.array([b"a"]), "cannot travel"),
        (np.ndarray, np.zeros(2, "M8[s]"), "cannot travel"),
        (np.ndarray, np.zeros(2, [("a", "i4")]), "cannot travel"),
        (np.ndarray, [1.0], "Input should be an instance of ndarray"),
    ],
)
def test_an_array_that_does_not_fit_names_the_cure(annotation: Any, array: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        check(annotation, array)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u8", "c16", "?"])
def test_numbers_of_every_kind_pass_where_any_array_does(dtype: str) -> None:
    array = np.zeros((0, 3), dtype)
    assert check(NDArray[Any], array) is array


@pytest.mark.parametrize("dtype", ["long", "longlong"])
def test_both_names_that_c_has_for_eight_bytes_are_int64(dtype: str) -> None:
    array = np.zeros(2, dtype)
    assert check(NDArray[np.int64], array) is array


def test_an_array_rule_reaches_into_containers_and_envelopes() -> None:
    for annotation, value in (
        (list[NDArray[np.float32]], [np.zeros(2)]),
        (Sensitive[NDArray[np.float32]], Sensitive(np.zeros(2))),
        (dict[str, NDArray[np.float32] | None], {"a": np.zeros(2)}),
    ):
        with pytest.raises(ValidationError, match="not float32"):
            check(annotation, value)


def test_an_array_rule_reaches_into_dataclasses() -> None:
    with pytest.raises(ValidationError, match="not float32"):
        check(Vector, {"values": np.zeros(2)})


@dataclasses.dataclass
class Vector:
    values: NDArray[np.float32]


def test_the_spelling_that_mypy_strict_asks_for_checks_arrays() -> None:
    array = np.zeros(2)
    assert check(NDArray[np.floating[Any]], array) is array


def test_a_choice_of_dtypes_is_read_or_refused() -> None:
    with pytest.raises(DefinitionError):
        read(of(NDArray, np.float32 | np.float64), "f: x")


@pytest.mark.parametrize("annotation", [typing.List, typing.Tuple, typing.Sequence, typing.Dict])  # noqa: UP006
def test_the_old_container_names_alone_are_asked_what_they_hold(annotation: Any) -> None:
    with pytest.raises(DefinitionError, match="say what it holds"):
        read(annotation, "f: x")


@pytest.mark.parametrize("annotation", [Sensitive[Sensitive[str]], Secret[Internal[int]]])
def test_an_envelope_in_an_envelope_is_refused_at_once(annotation: Any) -> None:
    with pytest.raises(DefinitionError):
        read(annotation, "f: x")


@pytest.mark.parametrize("annotation", [WithClassVar, WithKeywords])
def test_only_the_fields_of_a_dataclass_are_read(annotation: Any) -> None:
    assert read(annotation, "f: x").text == f"{annotation.__name__}(size: int)"


@pytest.mark.parametrize("annotation", [Options, OldOptions])
def test_a_typed_dict_travels_on_every_supported_python(annotation: Any) -> None:
    assert read(annotation, "f: x").text == f"{annotation.__name__}(depth: int)"
    assert check(annotation, {"depth": 3}) == {"depth": 3}


def test_a_typed_dict_may_mark_required_keys() -> None:
    assert read(Half, "f: x").text == "Half(depth: int)"


def test_a_field_of_an_unknown_type_is_a_definition_error() -> None:
    with pytest.raises(DefinitionError, match="Nowhere"):
        read(Dangling, "f: x")


def test_two_equal_unions_read_alike() -> None:
    one, other = int | None, None | int
    assert one == other
    assert read(one, "f: x").text == read(other, "f: x").text


def test_an_enum_whose_values_changed_reads_differently() -> None:
    assert read(Colour, "f: x").text != read(Others.Colour, "f: x").text
