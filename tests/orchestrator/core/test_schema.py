# mypy: disable-error-code="empty-body"
import dataclasses
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import BaseModel, Field, FiniteFloat, RootModel

from orchestrator.core.errors import DefinitionError, InvalidInput, PrivacyRefused
from orchestrator.core.labels import Internal, Labelled, Secret, Sensitive
from orchestrator.core.schema import Schema
from orchestrator.core.spec import read_signature
from orchestrator.wire.payloads import pack, unpack
from policies.facts import PUBLIC, Label, Level

CANARY = "geheim-4111"


class Colour(Enum):
    RED = 1


class Pair(NamedTuple):
    left: int
    right: str


@dataclasses.dataclass
class Note:
    text: str
    size: int = 0


@dataclasses.dataclass
class Counted:
    text: str
    length: int = dataclasses.field(init=False, default=0)


class Form(BaseModel):
    sender: str = Field(alias="from")


class Numbers(RootModel[list[int]]):
    pass


class Cat(BaseModel):
    name: str


class Dog(BaseModel):
    name: str


class Draft(BaseModel):
    text: str


def plain(x: int, *, times: float = 1.0) -> str: ...
def texts(x: list[str] | None) -> None: ...
def array(x: NDArray[np.float32]) -> None: ...
def finite(x: FiniteFloat, y: Annotated[int, Field(ge=0)] = 0) -> None: ...
def note(x: Note) -> None: ...
def draft(x: Draft) -> None: ...
def private(x: Sensitive[int], y: Sensitive[str] = Sensitive("")) -> Sensitive[str]: ...
def internal(x: Internal[str]) -> Internal[str]: ...
def any_label(x: Labelled[str]) -> Labelled[str]: ...
def mixed(x: str, y: list[Secret[str]]) -> None: ...
def many(
    a: Colour,
    b: Pair,
    c: set[int],
    d: datetime,
    e: Decimal,
    f: dict[int, UUID],
    g: bytes,
    h: Note,
    i: tuple[int, ...],
    j: Draft,
) -> None: ...
def counted(x: Counted) -> None: ...
def form(x: Form) -> None: ...
def numbers(x: Numbers) -> None: ...
def pet(x: Cat | Dog) -> None: ...
def moment(x: str | datetime) -> None: ...
def sequence(x: list[int] | tuple[int, ...]) -> None: ...
def constrained(x: Annotated[int, Field(min_length=3)]) -> None: ...


def schema(body: Callable[..., Any]) -> Schema:
    return read_signature(body, body.__name__)[1]


def travelled(body: Callable[..., Any], *args: Any) -> list[Any]:
    """Return arguments as a node gets them after a channel."""
    known = schema(body)
    return list(known.load(unpack(pack(known.bind(args, {})))).values())


def test_arguments_are_bound_by_name_with_defaults() -> None:
    assert schema(plain).bind((1,), {}) == {"x": 1, "times": 1.0}
    assert schema(plain).bind((), {"times": 2.0, "x": 1}) == {"x": 1, "times": 2.0}


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "missing a required argument: 'x'"),
        ((1, 2), {}, "too many positional arguments"),
        ((1,), {"tims": 2.0}, "got an unexpected keyword argument 'tims'"),
        ((1,), {"x": 2}, "multiple values for argument 'x'"),
    ],
)
def test_arguments_that_do_not_bind_show_the_signature(
    args: tuple[Any, ...], kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        schema(plain).bind(args, kwargs)
    assert str(refused.value) == f"plain(x: int, times: float = ...) -> str: {said}"


@pytest.mark.parametrize(
    ("body", "value", "said"),
    [
        (plain, "5", "'x': Input should be a valid integer"),
        (plain, True, "'x': Input should be a valid integer"),
        (plain, 1.0, "'x': Input should be a valid integer"),
        (plain, None, "'x': Input should be a valid integer"),
        (plain, np.int64(3), "'x': Input should be a valid integer"),
        (texts, ["a", 1], "'x': Input should be a valid string"),
        (texts, ("a",), "'x': Input should be a valid list"),
        (texts, b"a", "'x': Input should be a valid list"),
        (array, np.zeros(2), "'x': the array is float64, not float32: use .astype"),
        (array, [1.0], "'x': Input should be an instance of ndarray"),
        (finite, float("nan"), "'x': Input should be a finite number"),
        (finite, float("-inf"), "'x': Input should be a finite number"),
        (note, {"text": "a"}, "'x': Input should be an instance of Note"),
    ],
)
def test_a_wrong_type_is_refused_before_anything_is_sent(
    body: Callable[..., Any], value: Any, said: str
) -> None:
    with pytest.raises(InvalidInput, match=f"^{body.__name__}.*{said}"):
        schema(body).bind((value,), {})


def test_nan_passes_where_the_signature_does_not_refuse_it() -> None:
    assert schema(plain).bind((1,), {"times": float("nan")})["times"] != 0


def test_a_users_own_limits_are_kept() -> None:
    assert schema(finite).bind((1.0, 0), {}) == {"x": 1.0, "y": 0}
    with pytest.raises(InvalidInput, match="'y': Input should be greater than or equal to 0"):
        schema(finite).bind((1.0, -1), {})


@pytest.mark.parametrize("value", [Sensitive(1), Internal(1), Labelled("x")])
@pytest.mark.parametrize("inside", [lambda v: v, lambda v: [v], lambda v: ["a", v]])
def test_a_labelled_value_for_a_plain_parameter_is_refused(
    value: Labelled[Any], inside: Callable[[Any], Any]
) -> None:
    with pytest.raises(PrivacyRefused, match="lower it with a declassifier, or declare the label"):
        schema(texts).bind((inside(value),), {})


def test_the_positive_control_takes_the_same_value_without_its_envelope() -> None:
    assert schema(texts).bind((["a", "x"],), {}) == {"x": ["a", "x"]}


def test_a_label_above_the_declared_one_names_both() -> None:
    with pytest.raises(PrivacyRefused) as refused:
        schema(internal).bind((Secret(CANARY, "pii"),), {})
    said = str(refused.value)
    assert "'x' takes Internal[str], the value carries the label secret{pii}" in said
    assert CANARY not in said
    assert schema(internal).bind((Internal(CANARY, "pii"),), {})["x"].label.level == Level.INTERNAL


def test_a_lower_label_keeps_its_level_and_categories() -> None:
    given_ = Internal(5, "pii")
    taken = schema(private).bind((given_,), {})["x"]
    assert taken.label == given_.label


def test_a_plain_value_for_a_labelled_parameter_is_wrapped() -> None:
    taken = schema(private).bind((5,), {})["x"]
    assert isinstance(taken, Sensitive)
    assert taken.label == Label(Level.SENSITIVE)
    assert taken.reveal("test") == 5


def test_a_plain_value_where_any_label_is_taken_counts_as_secret() -> None:
    assert schema(any_label).bind(("x",), {})["x"].label == Label(Level.SECRET)


def test_a_call_carries_the_join_of_the_labels_of_its_arguments() -> None:
    known = schema(mixed)
    arguments = known.bind(("a", [Internal("b", "pii"), Secret("c", "phi")]), {})
    assert known.label_of(arguments) == Label(Level.SECRET, frozenset({"pii", "phi"}))
    assert known.label_of(known.bind(("a", []), {})) == PUBLIC
    assert schema(plain).label_of({"x": 1}) == PUBLIC


@pytest.mark.parametrize("value", [CANARY, Sensitive(CANARY), Internal([CANARY])])
def test_a_private_value_of_a_wrong_type_is_not_repeated(value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        schema(private).bind((value,), {})
    assert CANARY not in str(refused.value)
    assert "'x': the content does not fit Sensitive[int] (int_type)" in str(refused.value)
    assert refused.value.shareable


def test_a_plain_parameter_beside_a_private_one_names_the_kind_of_the_problem_alone() -> None:
    with pytest.raises(InvalidInput, match=r"'x': string_type$"):
        schema(mixed).bind((5, []), {})


def test_a_private_argument_that_is_missing_is_not_called_content_that_does_not_fit() -> None:
    with pytest.raises(InvalidInput, match="'x': missing$"):
        schema(private).load({})


def test_a_plain_value_that_came_over_a_channel_is_not_repeated_either() -> None:
    with pytest.raises(InvalidInput) as refused:
        schema(plain).load({"x": CANARY})
    assert str(refused.value) == "plain(x: int, times: float = ...) -> str: 'x': int_parsing"
    assert refused.value.shareable


def test_arguments_that_nobody_declared_are_refused_from_a_channel() -> None:
    with pytest.raises(InvalidInput, match="'y': extra_forbidden"):
        schema(plain).load({"x": 1, "y": 2})
    with pytest.raises(InvalidInput, match="'x': missing"):
        schema(plain).load({})


def test_a_label_from_a_channel_is_checked_again() -> None:
    with pytest.raises(PrivacyRefused, match="'x' takes Internal"):
        schema(internal).load({"x": Secret(CANARY)})


def test_a_result_that_does_not_fit_its_annotation_is_refused() -> None:
    assert schema(plain).check_result("a") == "a"
    with pytest.raises(InvalidInput, match="'result': Input should be a valid string"):
        schema(plain).check_result(5)
    with pytest.raises(PrivacyRefused, match="'result' takes str, the value carries the label"):
        schema(plain).check_result(Sensitive("a"))


def test_every_declared_type_comes_back_as_itself() -> None:
    sent = (
        Colour.RED,
        Pair(1, "a"),
        {1, 2},
        datetime(2026, 1, 2, tzinfo=timezone.utc),  # noqa: UP017
        Decimal("1.10"),
        {7: UUID(int=5)},
        b"\x00\xff",
        Note("a", 3),
        (1, 2),
        Draft(text="ü"),
    )
    assert travelled(many, *sent) == list(sent)


@given(st.lists(st.text()) | st.none())
def test_texts_of_every_kind_travel(value: list[str] | None) -> None:
    assert travelled(texts, value) == [value]


def test_arrays_come_back_read_only() -> None:
    [loaded] = travelled(array, np.arange(3, dtype=np.float32))
    with pytest.raises(ValueError, match="read-only"):
        loaded[0] = 1.0
    assert loaded.tolist() == [0.0, 1.0, 2.0]


def test_a_dataclass_with_a_field_of_a_wrong_type_is_refused() -> None:
    with pytest.raises(InvalidInput):
        travelled(note, Note("a", "5"))  # type: ignore[arg-type]


def test_a_model_that_was_changed_to_a_wrong_type_is_refused_where_it_arrives() -> None:
    changed = Draft(text="a")
    changed.__dict__["text"] = 5
    with pytest.raises(InvalidInput):
        travelled(draft, changed)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (counted, Counted("a")),
        (form, Form.model_validate({"from": "a"})),
        (numbers, Numbers([1, 2])),
    ],
)
def test_aliases_root_models_and_computed_fields_travel(
    body: Callable[..., Any], value: Any
) -> None:
    assert travelled(body, value) == [value]


@pytest.mark.parametrize(("body", "value"), [(moment, datetime(2026, 1, 2)), (moment, "2026")])
def test_a_member_of_a_union_arrives_as_what_was_sent(body: Callable[..., Any], value: Any) -> None:
    [loaded] = travelled(body, value)
    assert type(loaded) is type(value)


@pytest.mark.parametrize("body", [pet, sequence])
def test_a_union_whose_members_look_alike_on_the_wire_is_refused(body: Callable[..., Any]) -> None:
    with pytest.raises(DefinitionError, match="look alike on the wire"):
        schema(body)


def test_a_constraint_that_makes_no_sense_is_a_definition_error() -> None:
    with pytest.raises(DefinitionError, match="cannot be checked"):
        schema(constrained).bind((1,), {})
