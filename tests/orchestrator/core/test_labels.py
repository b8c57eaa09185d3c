import collections
import copy
import dataclasses
import io
import json
import logging
import marshal
import multiprocessing.reduction
import pickle
import pprint
import re
import reprlib
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule
from pydantic import BaseModel, PrivateAttr, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from orchestrator import Orchestrator
from orchestrator.core.errors import (
    DefinitionError,
    InvalidInput,
    PrivacyRefused,
    ServiceFailed,
    UsageError,
)
from orchestrator.core.labels import (
    ENVELOPES,
    Internal,
    Labelled,
    Secret,
    Sensitive,
    label_of,
    raised_to,
)
from orchestrator.core.running import Running, label_floor, process_on, running_as
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.testing import as_node
from orchestrator.wire.payloads import pack, unpack
from policies.facts import PUBLIC, Clearance, Label, Level

T = TypeVar("T")

CANARY = "geheim-4111"
REFUSALS = (TypeError, AttributeError, ValueError, PydanticSerializationError)
KINDS: list[type[Labelled[Any]]] = [Internal, Sensitive, Secret, Labelled]


@dataclasses.dataclass
class Letter:
    body: Any
    pages: int = 1


class Ticket(BaseModel):
    text: Sensitive[str]


class Loose(BaseModel):
    text: Any


class Number(BaseModel):
    x: Sensitive[int]


uploads: list[str] = []


@cloud_service
def upload(text: str) -> str:
    uploads.append(text)
    return text.upper()


@edge_service
def look_up(number: int) -> Sensitive[str]:
    return Sensitive(CANARY)


@edge_service
def shout(text: Labelled[str]) -> Labelled[str]:
    return text.with_value(upload(text.value))


@edge_service(declassifies=True)
def clean(text: Sensitive[str]) -> str:
    return upload("x" * len(text.value))


@edge_service
def slip_out(number: int) -> str:
    return upload(look_up(number).value)


@edge_service
def tell(number: int) -> str:
    return look_up(number).value


@edge_service
def relabel(text: Secret[str]) -> list[Secret[str]]:
    return [Internal(text.value), text]


def half_plain(text: Sensitive[str]) -> tuple[str, Sensitive[str]]:
    return text.value, text


@edge_service
def none_found(text: Sensitive[str]) -> list[Sensitive[str]]:
    return []


@pytest.fixture
def embedded() -> Iterator[Orchestrator]:
    uploads.clear()
    with Orchestrator() as orchestrator:
        yield orchestrator


class Envelopes(RuleBasedStateMachine):
    """Nothing derived from an envelope has a lower label, or shows what is inside."""

    things = Bundle("things")

    @initialize(target=things)
    def a_plain_value(self) -> tuple[Any, Label]:
        return "plain", PUBLIC

    @rule(
        target=things,
        kind=st.sampled_from(KINDS),
        categories=st.lists(st.sampled_from(["pii", "phi"])),
    )
    def seal(self, kind: type[Labelled[Any]], categories: list[str]) -> tuple[Any, Label]:
        return kind(CANARY, *categories), Label(kind.level, frozenset(categories))

    @rule(target=things, thing=things)
    def replace_content(self, thing: tuple[Any, Label]) -> tuple[Any, Label]:
        value, _ = thing
        if not isinstance(value, Labelled):
            return thing
        return value.with_value([CANARY]), value.label

    @rule(
        target=things,
        thing=things,
        level=st.sampled_from(Level),
        category=st.sampled_from(["pci", "pii"]),
    )
    def lift(self, thing: tuple[Any, Label], level: Level, category: str) -> tuple[Any, Label]:
        value, label = thing
        if not isinstance(value, Labelled):
            return thing
        more = Label(level, frozenset({category}))
        return raised_to(value, more), label.join(more)

    @rule(target=things, thing=things, again=st.sampled_from([copy.copy, copy.deepcopy]))
    def duplicate(self, thing: tuple[Any, Label], again: Callable[[Any], Any]) -> tuple[Any, Label]:
        return again(thing[0]), thing[1]

    @rule(
        target=things,
        one=things,
        other=things,
        build=st.sampled_from(
            [
                lambda a, b: [a, b],
                lambda a, b: {"a": a, "b": {"c": b}},
                lambda a, b: (Letter(a), [Letter(b)]),
                lambda a, b: [Loose(text=a), Loose(text=[b])],
            ]
        ),
    )
    def put_together(
        self, one: tuple[Any, Label], other: tuple[Any, Label], build: Callable[[Any, Any], Any]
    ) -> tuple[Any, Label]:
        return build(one[0], other[0]), one[1].join(other[1])

    @rule(target=things, thing=things, kind=st.sampled_from([Sensitive, Secret]))
    def seal_a_structure(
        self, thing: tuple[Any, Label], kind: type[Labelled[Any]]
    ) -> tuple[Any, Label]:
        value, label = thing
        if isinstance(value, Labelled):
            return thing
        return kind(value, "outer"), label.join(Label(kind.level, frozenset({"outer"})))

    @rule(target=things, thing=things)
    def validate(self, thing: tuple[Any, Label]) -> tuple[Any, Label]:
        value, label = thing
        return TypeAdapter(Labelled[Any]).validate_python(value), label

    @rule(target=things, thing=consumes(things))
    def travel(self, thing: tuple[Any, Label]) -> tuple[Any, Label]:
        packed = pack(thing[0])
        assert packed.label.covers(thing[1])
        return unpack(packed), thing[1]

    @rule(thing=things)
    def look(self, thing: tuple[Any, Label]) -> None:
        value, label = thing
        assert label_of(value).covers(label)
        assert CANARY not in f"{value} {value!r} {pprint.pformat(value)}"


Envelopes.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestNothingDerivedFromAnEnvelopeHasALowerLabel = Envelopes.TestCase


def rewritten(envelope: Labelled[Any]) -> str:
    """Return what pytest says of a comparison that fails."""
    with pytest.raises(AssertionError) as failed:
        assert [envelope, Letter(envelope)] == [CANARY[::-1]]
    return str(failed.value)


class Node(BaseModel, Generic[T]):
    part: T
    rest: "Node[T] | None" = None
    _private: Any = PrivateAttr(default=None)


@dataclasses.dataclass(frozen=True, slots=True)
class Base:
    part: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Derived(Base):
    made: Any = dataclasses.field(init=False, default=None)
    given: dataclasses.InitVar[int] = 0

    def __post_init__(self, given: int) -> None:
        object.__setattr__(self, "made", [self.part, given])


class Pair(NamedTuple):
    one: Any
    other: Any = None


@pytest.mark.parametrize(
    "build",
    [
        lambda e: [[e]],
        lambda e: {"a": {"b": e}},
        lambda e: {e: 1},
        lambda e: {(1, e): 1},
        lambda e: {e},
        lambda e: frozenset({e}),
        lambda e: (1, (e,)),
        lambda e: Pair(1, [e]),
        lambda e: Letter(e),
        lambda e: Base(Derived(e)),
        lambda e: Derived(e, 3),
        lambda e: Node[Any](part=1, rest=Node[Any](part=[e])),
        lambda e: Internal({"a": e}),
        lambda e: collections.OrderedDict(a=e),
        lambda e: types.MappingProxyType({"a": e}),
    ],
)
def test_labels_are_found_and_raised_wherever_a_value_stands(build: Callable[[Any], Any]) -> None:
    label, more = Label(Level.SENSITIVE, frozenset({"pii"})), Label(Level.SECRET)
    value = build(Sensitive(CANARY, "pii"))
    assert label_of(value) == label
    raised = raised_to(value, more)
    assert label_of(raised) == label.join(more)
    assert CANARY not in repr(raised)
    assert label_of(value) == label  # the old one is as it was


def test_a_class_among_values_is_no_value() -> None:
    assert label_of([Letter, Derived, Node]) == PUBLIC
    assert raised_to(Letter, Label(Level.SECRET)) is Letter


@pytest.mark.parametrize("reveal", ["audited", "forbidden"])
def test_reveal_may_be_forbidden_by_the_settings_of_whatever_is_open(reveal: str) -> None:
    envelope = Sensitive(CANARY)
    with Orchestrator({"privacy": {"reveal": reveal}}, app=[look_up]):
        if reveal == "audited":
            assert envelope.reveal("a test") == CANARY
        else:
            with pytest.raises(PrivacyRefused, match="settings of the open orchestrator forbid"):
                envelope.reveal("a test")
        found = look_up(1)  # bodies go on
        assert found.label == Label(Level.SENSITIVE)
    assert envelope.reveal("a test") == CANARY


def test_the_setting_of_a_node_rules_in_its_process_and_in_its_bodies() -> None:
    strict: Any = types.SimpleNamespace(
        name="edge-7", tier="edge", clearance=Clearance(Level.SECRET), reveal_allowed=False
    )
    for inside in (process_on(strict), running_as(Running(strict))):
        with inside, pytest.raises(PrivacyRefused, match="settings of node edge-7 forbid"):
            Sensitive(CANARY).reveal("a test")
    with running_as(Running(strict)):
        assert Sensitive(CANARY).value == CANARY


def test_reveal_in_a_body_raises_its_floor_too() -> None:
    with as_node("edge"):
        Sensitive(CANARY).reveal("a test")
        assert label_floor() == Label(Level.SENSITIVE)


class Hiding:
    def __init__(self, inside: object) -> None:
        self.inside = inside


def test_an_object_that_would_hide_an_envelope_cannot_travel() -> None:
    hidden = [Hiding(Secret(CANARY))]
    assert label_of(hidden) == PUBLIC  # the positive control: here the property would fail
    with pytest.raises(InvalidInput, match="a value of type Hiding cannot travel"):
        pack(hidden)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        lambda e: f"{e}",
        lambda e: f"{e!r:>40}",
        lambda e: f"{e:>40}",
        lambda e: "%s %r" % (e, e),  # noqa: UP031
        lambda e: "{:08.3f}".format(e),  # noqa: UP032
        lambda e: str([e, {"a": (e,)}, Letter(e), Loose(text=e)]),
        lambda e: pprint.pformat({"a": e}),
        lambda e: str(ValueError(e)),
        lambda e: json.dumps({"a": e}, default=str),
        lambda e: repr(np.array([e], dtype=object)),
        lambda e: repr(logging.makeLogRecord({"msg": "%s", "args": (e,)}).getMessage()),
        lambda e: "".join(traceback.format_exception(ExceptionGroup("all", [ValueError(e)]))),
        lambda e: rewritten(e),
        lambda e: str(dataclasses.asdict(Letter(e))),
        lambda e: reprlib.repr([e]),
    ],
)
def test_an_envelope_shows_a_mask_wherever_it_is_printed(
    kind: type[Labelled[Any]], show: Callable[[Any], str]
) -> None:
    shown = show(kind(CANARY, "pii"))
    assert f"{kind.__name__}(****)" in shown
    assert CANARY not in shown


@pytest.mark.parametrize(
    "read",
    [
        vars,
        iter,
        len,
        float,
        int,
        bytes,
        json.dumps,
        pickle.dumps,
        to_json,
        to_jsonable_python,
        *(lambda e, p=p: pickle.dumps(e, p) for p in range(pickle.HIGHEST_PROTOCOL + 1)),
        lambda e: pickle.dumps([{"a": Letter(e)}]),
        lambda e: e + "",
        lambda e: e[0],
        lambda e: [*e],
        lambda e: CANARY in e,
        lambda e: Ticket(text=e).model_dump(),
        lambda e: Ticket(text=e).model_dump_json(),
        lambda e: Loose(text=e).model_dump_json(),
        lambda e: TypeAdapter(list[Sensitive[str]]).dump_json([e]),
        lambda e: json.dumps({e: 1}),
        lambda e: json.dumps(dataclasses.asdict(Letter(e))),
        lambda e: marshal.dumps(e),
        lambda e: yaml.dump(e),
        lambda e: "".join([e]),
        lambda e: "%d" % e,  # noqa: UP031
        lambda e: e < CANARY,
        lambda e: sorted([e, e]),
        lambda e: max(e, CANARY),
        lambda e: e.encode(),
        lambda e: {**e},
        lambda e: next(e),
        lambda e: np.array([e]).astype(str).tobytes() and np.array([e]).tobytes() and hash([e]),
        lambda e: np.save(io.BytesIO(), np.array([e], dtype=object)),
        lambda e: re.sub("g", "", e),
        lambda e: memoryview(e),
        lambda e: dataclasses.replace(e),
        lambda e: multiprocessing.reduction.ForkingPickler.dumps(e),
        lambda e: (lambda **all: all)(**e),
    ],
)
def test_an_envelope_cannot_be_read_serialised_or_pickled(read: Callable[[Any], Any]) -> None:
    with pytest.raises(REFUSALS) as refused:
        read(Sensitive(CANARY))
    assert CANARY not in str(refused.value)


def test_what_pickles_by_getstate_is_refused_too() -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        Sensitive(CANARY).__getstate__()


def test_envelopes_tell_nothing_by_being_compared() -> None:
    one, other = Sensitive(CANARY), Sensitive(CANARY)
    known: list[object] = [one]
    assert one in known
    assert other not in known
    assert CANARY not in known
    assert len({one, other, one}) == 2
    # Identity alone: nothing of the content is asked, so neither answer nor time depends on it.
    assert type(one).__eq__ is object.__eq__
    assert type(one).__hash__ is object.__hash__
    assert bool(Sensitive("")) is bool(Sensitive(CANARY)) is True
    assert sys.getsizeof(Sensitive("")) == sys.getsizeof(Sensitive(CANARY))


def test_a_dataclass_taken_apart_keeps_its_envelopes() -> None:
    letter = Letter(Sensitive(CANARY))
    assert dataclasses.asdict(letter)["body"] is letter.body
    assert Loose(text=letter.body).model_dump()["text"] is letter.body
    assert Ticket(text=letter.body).model_copy(deep=True).text.label == letter.body.label


@pytest.mark.parametrize(
    "change",
    [
        lambda e: setattr(e, "_value", ""),
        lambda e: setattr(e, "categories", frozenset()),
        lambda e: setattr(e, "level", Level.PUBLIC),
        lambda e: setattr(e, "__class__", Internal),
        lambda e: delattr(e, "categories"),
        lambda e: setattr(e, "note", ""),
    ],
)
def test_a_label_cannot_be_changed(change: Callable[[Any], None]) -> None:
    envelope = Secret(CANARY, "pii")
    with pytest.raises(AttributeError):
        change(envelope)
    assert envelope.label == Label(Level.SECRET, frozenset({"pii"}))


@pytest.mark.parametrize("kind", KINDS)
def test_an_envelope_is_not_put_into_an_envelope(kind: type[Labelled[Any]]) -> None:
    for seal in (kind, Secret("", "pii").with_value):
        with pytest.raises(UsageError, match="labelled already; use with_value"):
            seal(Sensitive(CANARY))


@given(st.sampled_from(list(ENVELOPES)), st.sampled_from(list(ENVELOPES)))
def test_a_parameter_takes_its_own_level_and_every_lower_one(declared: Level, level: Level) -> None:
    kind: Any = ENVELOPES[declared]
    adapter: TypeAdapter[Labelled[str]] = TypeAdapter(kind[str])
    envelope = ENVELOPES[level](CANARY, "pii")
    if level <= declared:
        assert adapter.validate_python(envelope).label == envelope.label
    else:
        with pytest.raises(ValidationError, match="label_too_high"):
            adapter.validate_python(envelope)


def test_a_users_own_envelope_stays_itself() -> None:
    class CardNumber(Sensitive[str]):
        __slots__ = ()

    number = CardNumber(CANARY, "pci")
    assert type(number.with_value("")) is CardNumber
    assert type(TypeAdapter(Sensitive[str]).validate_python(number)) is CardNumber
    assert label_of(number) == Label(Level.SENSITIVE, frozenset({"pci"}))


def test_a_private_value_that_does_not_fit_a_users_model_is_not_shown() -> None:
    with pytest.raises(ValidationError) as refused:
        Number(x=Sensitive(CANARY))  # type: ignore[arg-type]
    assert CANARY not in str(refused.value)


def test_value_opens_where_the_node_is_cleared_and_nowhere_else() -> None:
    envelope = Sensitive(CANARY, "pii")
    with as_node("edge"):
        assert envelope.value == CANARY
    with pytest.raises(PrivacyRefused, match=r"inside a service's body only; here use \.reveal"):
        _ = envelope.value


@pytest.mark.parametrize(
    ("clearance", "words"),
    [
        (Clearance(Level.INTERNAL), "internal"),
        (Clearance(Level.SECRET, frozenset({"phi"})), "secret{phi}"),
    ],
)
def test_value_stays_shut_on_a_node_that_is_not_cleared(clearance: Clearance, words: str) -> None:
    with as_node("cloud", clearance), pytest.raises(PrivacyRefused) as refused:
        _ = Sensitive(CANARY, "pii").value
    assert str(refused.value) == (f"label sensitive{{pii}} is above clearance {words} of this node")


def test_reveal_opens_anywhere_and_writes_its_reason_but_not_the_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    assert Sensitive(CANARY, "pii").reveal("a customer asked") == CANARY
    [record] = caplog.records
    assert (record.name, record.levelname) == ("isthmus.audit", "WARNING")
    assert record.getMessage() == "revealed a value labelled sensitive{pii}: a customer asked"
    assert CANARY not in str(vars(record))


@pytest.mark.parametrize("reason", ["", " ", None, 3])
def test_reveal_asks_for_a_reason(reason: Any) -> None:
    with pytest.raises(UsageError, match="reveal asks for a reason"):
        Sensitive(CANARY).reveal(reason)


def test_what_a_body_calls_inherits_the_label_of_its_input(embedded: Orchestrator) -> None:
    with pytest.raises(ServiceFailed) as failed:
        shout(Sensitive(CANARY))
    assert isinstance(failed.value.__cause__, PrivacyRefused)
    assert CANARY not in str(failed.value)
    assert uploads == []


def test_the_positive_control_may_go_to_the_cloud(embedded: Orchestrator) -> None:
    assert shout(Internal("open")).reveal("test") == "OPEN"
    assert uploads == ["open"]


def test_only_a_declassifier_lifts_the_floor(embedded: Orchestrator) -> None:
    assert clean(Sensitive("abc")) == "XXX"
    assert uploads == ["xxx"]


def test_the_floor_of_one_call_does_not_stay_for_the_next(embedded: Orchestrator) -> None:
    with pytest.raises(ServiceFailed):
        shout(Secret(CANARY))
    assert shout(Internal("next")).label == Label(Level.INTERNAL)
    assert uploads == ["next"]


def test_what_a_body_opens_of_another_services_answer_does_not_slip_out(
    embedded: Orchestrator,
) -> None:
    with pytest.raises(ServiceFailed):
        slip_out(1)
    assert uploads == []


def test_a_body_cannot_answer_in_plain_with_what_it_opened(embedded: Orchestrator) -> None:
    with pytest.raises((PrivacyRefused, ServiceFailed)):
        tell(1)


def test_no_part_of_a_result_has_a_lower_label_than_the_arguments(embedded: Orchestrator) -> None:
    assert all(part.label.level == Level.SECRET for part in relabel(Secret(CANARY)))


def test_a_plain_part_of_a_result_does_not_carry_labelled_input_out(
    embedded: Orchestrator,
) -> None:
    with pytest.raises((DefinitionError, PrivacyRefused, ServiceFailed)):
        edge_service(half_plain)(Sensitive(CANARY))


def test_a_labelled_list_may_be_empty(embedded: Orchestrator) -> None:
    assert none_found(Sensitive(CANARY)) == []


def test_what_holds_no_label_is_public_itself_so_that_it_is_known_at_once() -> None:
    assert label_of({"a": [1, (2, {"b": None})]}) is PUBLIC
    assert label_of({"a": [1, (2, {"b": Sensitive(3)})]}) == Label(Level.SENSITIVE)


@pytest.mark.parametrize("given", [[CANARY], Sensitive([CANARY])])
def test_the_error_of_content_that_does_not_fit_holds_it_nowhere(given: Any) -> None:
    takes: Any = edge_service(numbered)
    with pytest.raises(InvalidInput) as refused:
        takes.spec.schema.bind((given,), {})
    error: BaseException | None = refused.value
    while error is not None:
        assert CANARY not in f"{error} {error!r} {vars(error)}"
        error = error.__cause__ or error.__context__


def numbered(text: Sensitive[int]) -> Sensitive[int]:
    return text
