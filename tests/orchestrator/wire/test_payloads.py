import json
import math
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from pydantic import BaseModel, Field, RootModel

from orchestrator.core import codecs
from orchestrator.core.codecs import register_codec
from orchestrator.core.errors import InvalidInput, PrivacyRefused, WireError
from orchestrator.core.labels import Internal, Labelled, Secret, Sensitive
from orchestrator.decorators import edge_service
from orchestrator.wire.bodies import decode_value, encode_value
from orchestrator.wire.messages import decode_payload, encode_payload
from orchestrator.wire.payloads import MAX_ATTACHMENTS, Packed, pack, unpack
from orchestrator.wire.tensors import DTYPES
from policies.facts import PUBLIC, Label, Level
from protos.isthmus.v1 import node_pb2 as pb


def over_the_wire(value: Any) -> Any:
    message = encode_payload(pack(value)).SerializeToString()
    return unpack(decode_payload(pb.Payload.FromString(message)))


def loaded(service: Any, **arguments: Any) -> dict[str, Any]:
    """Return arguments as a body on another machine sees them."""
    schema = service.spec.schema
    values: dict[str, Any] = schema.load(over_the_wire(schema.bind((), arguments)))
    return values


def same(one: Any, other: Any) -> bool:
    """Compare by type and content; NaN equals itself."""
    if isinstance(one, np.ndarray):
        alike = isinstance(other, np.ndarray) and one.dtype == other.dtype
        return alike and one.shape == other.shape and one.tobytes() == other.tobytes()
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, Labelled):
        return one.label == other.label and same(one.reveal("a test"), other.reveal("a test"))
    if isinstance(one, float):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or (one == other and math.copysign(1, one) == math.copysign(1, other))
    return bool(one == other)


arrays = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda name: arrays_of.arrays(
        np.dtype(name), arrays_of.array_shapes(min_dims=0, min_side=0, max_side=3)
    )
)
huge = st.integers(-(10**300), 10**300)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | huge
    | st.floats()
    | st.text()
    | st.binary()
    | arrays
)
markers = ["$", "$$", "$tensor", "$bytes", "$label", "$value", "$codec", "$$tensor"]
keys = st.text() | st.sampled_from(markers)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.builds(Secret, inner.filter(lambda value: not isinstance(value, Labelled)))
    ),
    max_leaves=12,
)


@given(values)
def test_what_is_sent_arrives(value: Any) -> None:
    assert same(over_the_wire(value), value)


def over_a_session(value: Any) -> Any:
    return unpack(decode_value(b"".join(encode_value(pack(value)))))


@given(values)
def test_a_session_gives_what_single_rpcs_give(value: Any) -> None:
    assert same(over_a_session(value), over_the_wire(value))


@given(values)
def test_a_channel_in_this_process_gives_what_the_network_gives(value: Any) -> None:
    assert same(unpack(pack(value)), over_the_wire(value))


def test_text_of_all_planes_arrives() -> None:
    text = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x3000F), 0x10FFFF]))
    assert over_the_wire(text) == text


class Colour(Enum):
    RED = "red"
    DEEP = 7


class Rank(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Point(NamedTuple):
    x: int
    y: float


@dataclass(frozen=True, slots=True)
class Inner:
    values: tuple[int, ...]
    when: datetime | None = None


class Outer(BaseModel):
    inner: list[Inner]
    data: bytes = b""
    by_name: dict[str, Inner] = {}


@edge_service
def moments(a: datetime, b: date, c: time, d: timedelta) -> None: ...
@edge_service
def leaves_of(a: Decimal, b: UUID, c: Colour, d: Rank, e: Word, f: Point) -> None: ...
@edge_service
def structures(a: Inner, b: Outer, c: set[int], d: frozenset[str], e: dict[int, Inner]) -> None: ...
@edge_service
def letters(a: Internal[str], b: Sensitive[list[str]], c: Secret[Inner]) -> None: ...


minutes = st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m)))


@given(
    st.datetimes(timezones=st.none() | st.just(UTC) | minutes),
    st.dates(),
    st.times(),
    st.timedeltas(),
)
def test_moments_arrive_to_the_microsecond(a: datetime, b: date, c: time, d: timedelta) -> None:
    got = loaded(moments, a=a, b=b, c=c, d=d)
    assert got == {"a": a, "b": b, "c": c, "d": d}
    assert got["a"].utcoffset() == a.utcoffset()


def test_a_moment_with_an_odd_offset_stays_the_same_moment() -> None:
    amsterdam = timezone(timedelta(minutes=19, seconds=32))  # until 1937
    moment = datetime(1930, 1, 1, tzinfo=amsterdam)
    assert loaded(moments, a=moment, b=date.min, c=time.min, d=timedelta())["a"] == moment


decimals = st.decimals(allow_nan=False, allow_infinity=False)


@given(
    decimals,
    st.uuids(),
    st.sampled_from(Colour),
    st.sampled_from(Word),
    st.builds(Point, st.integers(), st.floats(allow_nan=False)),
)
def test_decimals_ids_enums_and_named_tuples_arrive_in_their_types(
    a: Decimal, b: UUID, c: Colour, e: Word, f: Point
) -> None:
    got = loaded(leaves_of, a=a, b=b, c=c, d=Rank.LOW, e=e, f=f)
    assert got == {"a": a, "b": b, "c": c, "d": Rank.LOW, "e": e, "f": f}
    assert (type(got["c"]), type(got["e"]), type(got["f"])) == (Colour, Word, Point)


inners = st.builds(
    Inner, st.lists(st.integers(), max_size=3).map(tuple), st.none() | st.datetimes()
)
outers = st.builds(
    Outer,
    inner=st.lists(inners, max_size=2),
    data=st.binary(),
    by_name=st.dictionaries(keys, inners),
)


@given(
    inners, outers, st.sets(st.integers()), st.frozensets(st.text()), st.dictionaries(huge, inners)
)
def test_dataclasses_models_sets_and_keys_arrive_in_their_types(
    a: Inner, b: Outer, c: set[int], d: frozenset[str], e: dict[int, Inner]
) -> None:
    got = loaded(structures, a=a, b=b, c=c, d=d, e=e)
    assert got == {"a": a, "b": b, "c": c, "d": d, "e": e}
    assert type(got["b"].inner) is list
    assert all(type(inner) is Inner for inner in got["b"].inner)


@given(st.text(), st.lists(st.text()), inners, st.sets(st.text(), max_size=3))
def test_envelopes_arrive_with_level_categories_and_content(
    a: str, b: list[str], c: Inner, categories: set[str]
) -> None:
    got = loaded(letters, a=Internal(a), b=Sensitive(b, *categories), c=Secret(c, "phi"))
    assert got["a"].label == Label(Level.INTERNAL)
    assert got["b"].label == Label(Level.SENSITIVE, frozenset(categories))
    assert type(got["c"]) is Secret
    assert [got[name].reveal("a test") for name in "abc"] == [a, b, c]


class Aliased(BaseModel):
    user_id: int = Field(alias="userId")


class Numbers(RootModel[list[int]]):
    pass


@dataclass
class Derived:
    base: int
    double: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.double = 2 * self.base


@edge_service
def aliased(a: Aliased) -> None: ...
@edge_service
def numbers(a: Numbers) -> None: ...
@edge_service
def derived(a: Derived) -> None: ...


def test_a_model_whose_fields_have_aliases_arrives() -> None:
    assert loaded(aliased, a=Aliased(userId=7))["a"] == Aliased(userId=7)


def test_a_root_model_arrives() -> None:
    assert loaded(numbers, a=Numbers([1, 2]))["a"] == Numbers([1, 2])


def test_a_dataclass_with_a_field_outside_of_init_arrives() -> None:
    assert loaded(derived, a=Derived(2))["a"] == Derived(2)


def test_the_label_is_the_join_of_all_envelopes_wherever_they_stand() -> None:
    value = {
        "plain": 1,
        "list": [Internal("a", "phi")],
        "model": Outer(inner=[]),
        "deep": {"x": ({"y": Sensitive("b", "pii")},)},
    }
    assert pack(value).label == Label(Level.SENSITIVE, frozenset({"phi", "pii"}))
    assert pack({"plain": 1}).label == PUBLIC


def test_arrays_are_shared_as_read_only_views_and_the_caller_keeps_its_own() -> None:
    mine = np.zeros(1000)
    theirs = unpack(pack([mine]))[0]
    assert np.shares_memory(mine, theirs)
    assert not theirs.flags.writeable
    mine[0] = 1  # the caller's array is as it was


def test_a_masked_array_is_refused_or_keeps_its_mask() -> None:
    masked = np.ma.masked_array([1, 2], mask=[False, True])
    try:
        got = over_the_wire(masked)
    except InvalidInput:
        return
    assert got.tolist() == masked.tolist()


@pytest.mark.parametrize("value", [bytearray(b"ab"), memoryview(b"ab"), b"ab"])
def test_every_kind_of_bytes_arrives_as_bytes(value: Any) -> None:
    assert over_the_wire([value]) == [b"ab"]


def test_numpy_scalars_arrive_as_numbers() -> None:
    sent = [np.float32(0.5), np.int64(3), np.bool_(True), np.float64(0.1)]
    assert over_the_wire(sent) == [0.5, 3, True, 0.1]


def test_the_size_counts_arrays_bytes_text_and_keys() -> None:
    assert pack([np.zeros(1000), b"x" * 500, {"k" * 100: "t" * 200}]).size >= 8000 + 500 + 300


def test_the_size_of_a_memoryview_is_its_bytes() -> None:
    assert pack(memoryview(array("d", [0.0] * 1000))).size >= 8000


def test_the_size_of_text_is_about_its_bytes_on_the_wire() -> None:
    text = "漢字" * 10_000
    assert pack(text).size * 1.5 > len(text.encode())


class Unknown:
    def __repr__(self) -> str:
        return "private words"


def test_a_value_of_an_unknown_type_is_refused_with_the_cure_and_without_the_value() -> None:
    with pytest.raises(InvalidInput, match="Unknown cannot travel: register_codec") as caught:
        pack({"a": [Unknown()]})
    assert "private" not in str(caught.value)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "depth",
    [
        190,
        250,
        300,
        2_000,
        100_000,
    ],
)
def test_a_value_that_is_nested_too_deeply_is_refused_at_the_caller(depth: int) -> None:
    value = nested(depth)
    if depth < 200:
        assert over_the_wire(value) == value
        return
    with pytest.raises(InvalidInput, match="nested too deeply"):
        encode_payload(pack(value))


def test_a_value_that_contains_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(InvalidInput, match="nested too deeply"):
        pack(circle)


def test_a_number_that_no_node_can_read_is_refused_at_the_caller() -> None:
    with pytest.raises(InvalidInput):
        encode_payload(pack(10**5000))


def test_text_that_is_no_unicode_is_refused() -> None:
    for value in ("\ud800", {"\ud800": 1}):
        with pytest.raises(InvalidInput, match="Unicode"):
            encode_payload(pack(value))


def test_more_arrays_and_bytes_than_a_session_can_count_are_refused_with_the_cure() -> None:
    most = [b"x"] * MAX_ATTACHMENTS
    assert over_a_session(most) == most
    with pytest.raises(InvalidInput, match="join them into fewer, larger ones"):
        pack([*most, b"x"])


def test_a_marker_in_other_spelling_is_still_a_marker() -> None:
    label = Label(Level.SECRET)
    for dollar in ("$", "\\u0024"):
        text = f'{{"{dollar}label": ["secret", []], "{dollar}value": "x"}}'
        got = unpack(Packed(text.encode()))
        assert isinstance(got, Labelled)
        assert got.label == label
        assert unpack(Packed(f'{{"a": {{"{dollar}bytes": 0}}}}'.encode(), (b"x",))) == {"a": b"x"}
        assert unpack(Packed(f'{{"{dollar}$bytes": 0}}'.encode(), (b"x",))) == {"$bytes": 0}
        with pytest.raises(WireError):
            unpack(Packed(f'{{"{dollar}unknown": 1}}'.encode()))


@given(values, st.data())
def test_however_its_dollars_are_spelled_a_text_means_the_same(
    value: Any, draw: st.DataObject
) -> None:
    packed = pack(value)
    first, *rest = packed.json.split(b"$")
    dollars = [draw.draw(st.sampled_from([b"$", b"\\u0024"])) for _ in rest]
    spelled = first + b"".join(b for pair in zip(dollars, rest, strict=True) for b in pair)
    assert same(unpack(Packed(spelled, packed.attachments)), value)


MALFORMED = [
    "{",
    "[1,",
    "nil",
    '{"a": 1} {}',
    "\x00",
    "[" * 100_000,
    '{"a":' * 100_000,
    "9" * 1_000_000,
    '{"$tensor": 0}',
    '{"$tensor": 7}',
    '{"$tensor": -1}',
    '{"$tensor": "1"}',
    '{"$tensor": 1.0}',
    '{"$tensor": null}',
    '{"$tensor": 1, "x": 1}',
    '{"x": 1, "$tensor": 1}',
    '{"$bytes": 1}',
    '{"$bytes": 2}',
    '{"$": 1}',
    '{"$unknown": 1}',
    '{"$value": 1}',
    '{"$label": ["secret", []]}',
    '{"$label": ["secret", []], "$value": 1, "x": 1}',
    '{"$codec": "nobody", "$value": 1}',
    '{"$codec": ["x"], "$value": 1}',
    '{"a": [{"b": {"$tensor": 9}}]}',
]


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: text[:40])
def test_a_malformed_payload_is_a_wire_error(text: str) -> None:
    blob = pb.Attachment(blob=b"data")
    tensor = pb.Attachment(tensor=pb.Tensor(dtype="bool", shape=[1], data=b"\x01"))
    with pytest.raises(WireError):
        unpack(decode_payload(pb.Payload(json=text, attachments=[blob, tensor])))


def test_an_attachment_of_no_kind_is_a_wire_error() -> None:
    with pytest.raises(WireError):
        decode_payload(pb.Payload(json="1", attachments=[pb.Attachment()]))


UNKNOWN = [
    '{"$label": ["public", []], "$value": 1}',
    '{"$label": ["top", []], "$value": 1}',
    '{"$label": ["secret"], "$value": 1}',
    '{"$label": ["secret", 5], "$value": 1}',
    '{"$label": 3, "$value": 1}',
    '{"$label": null, "$value": 1}',
]


@pytest.mark.parametrize("text", UNKNOWN, ids=lambda text: text[:40])
def test_a_value_with_an_unknown_label_is_refused_for_privacy(text: str) -> None:
    with pytest.raises(PrivacyRefused, match="a value has an unknown label"):
        unpack(Packed(text.encode()))


def test_a_value_with_two_labels_is_refused_for_privacy() -> None:
    inner = '{"$label": ["secret", []], "$value": 1}'
    with pytest.raises(PrivacyRefused, match="a value has two labels"):
        unpack(Packed(f'{{"$label": ["internal", []], "$value": {inner}}}'.encode()))


def test_a_labelled_key_is_refused_rather_than_masked() -> None:
    for key in (Sensitive("geheim"), (1, Sensitive("geheim"))):
        with pytest.raises(InvalidInput, match="a labelled key cannot travel") as refused:
            pack({key: 1})
        assert "geheim" not in str(refused.value)
    assert pack(Sensitive({"geheim": 1})).label == Label(Level.SENSITIVE)  # this is the cure


marked = st.dictionaries(
    st.sampled_from([*markers, "a"]), st.integers(-1, 2) | st.text(max_size=2) | st.none()
)
texts = st.recursive(
    marked | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)


@given(texts)
def test_no_payload_of_a_stranger_raises_anything_but_a_refusal_of_ours(body: Any) -> None:
    message = pb.Payload(json=json.dumps(body), attachments=[pb.Attachment(blob=b"data")])
    with suppress(WireError, PrivacyRefused):
        unpack(decode_payload(message))


class Money:
    def __init__(self, cents: int) -> None:
        if cents < 0:
            raise ValueError(f"canary {cents}")
        self.cents = cents


@pytest.fixture
def money_codec() -> Iterator[None]:
    register_codec(Money, lambda money: {"c": money.cents}, lambda plain: Money(plain["c"]))
    yield
    codec = codecs._by_kind.pop(Money)
    del codecs._by_name[codec.name]


@pytest.mark.usefixtures("money_codec")
def test_a_registered_codec_carries_its_type() -> None:
    assert over_the_wire([Money(5)])[0].cents == 5


@pytest.mark.usefixtures("money_codec")
@pytest.mark.parametrize("plain", ['{"c": -1}', '{"c": "x"}', "{}", "null"])
def test_what_a_codec_refuses_is_a_wire_error_without_the_codecs_words(plain: str) -> None:
    name = codecs._by_kind[Money].name
    with pytest.raises(WireError) as caught:
        unpack(decode_payload(pb.Payload(json=f'{{"$codec": "{name}", "$value": {plain}}}')))
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
