import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.call import Call, Reply, Result, Timings
from orchestrator.core.deadline import Deadline
from orchestrator.wire.payloads import Packed
from policies.facts import CallFacts, Candidate, EndpointFacts, Label, Verdict
from policies.record import record

RECORDS = [
    Call, Reply, Result, Timings, Deadline, Packed, CallFacts, Candidate, EndpointFacts, Verdict,
]  # fmt: skip


@record
class Point:
    """A point."""

    x: int
    y: int = 0
    names: tuple[str, ...] = field(default=(), compare=False)

    @property
    def sum(self) -> int:
        return self.x + self.y


def test_a_record_is_a_dataclass_with_slots() -> None:
    point = Point(1, y=2)
    assert (point.x, point.y, point.sum, repr(point)) == (1, 2, 3, "Point(x=1, y=2, names=())")
    assert [part.name for part in fields(Point)] == ["x", "y", "names"]
    assert replace(point, y=5) == Point(1, 5)
    assert not hasattr(point, "__dict__")
    with pytest.raises(AttributeError):
        point.z = 1  # type: ignore[attr-defined]


def test_records_are_equal_and_have_one_hash_if_their_fields_do() -> None:
    assert Point(1, 2, ("a",)) == Point(1, 2, ("b",))
    assert len({Point(1, 2), Point(1, 2), Point(2, 1)}) == 2
    assert Point(1, 2).__eq__((1, 2)) is NotImplemented
    assert pickle.loads(pickle.dumps(Point(1, 2))) == Point(1, 2)


def test_a_method_that_a_class_has_is_kept() -> None:
    @record
    class Loud:
        x: int

        def __repr__(self) -> str:
            return "loud"

    assert repr(Loud(1)) == "loud"


@pytest.mark.parametrize("kind", RECORDS)
def test_what_every_call_makes_has_slots(kind: Any) -> None:
    assert all(part.name in kind.__slots__ for part in fields(kind))


@pytest.mark.parametrize("strict", [True, False])
def test_type_checkers_hold_a_record_frozen(tmp_path: Path, strict: bool) -> None:
    api = pytest.importorskip("mypy.api")
    source = tmp_path / "check.py"
    source.write_text(
        "from policies.record import record\n\n\n"
        "@record\nclass Point:\n    x: int\n\n\n"
        "point = Point(1)\n"
        f"{'point.x = 2' if strict else 'print(point.x)'}\n"
    )
    said, _, status = api.run(["--no-incremental", "--follow-imports=silent", str(source)])
    assert (status, "is read-only" in said) == ((1, True) if strict else (0, False)), said


def test_what_promises_rest_on_is_frozen_at_run_time_too() -> None:
    with pytest.raises(FrozenInstanceError):
        Label().level = Label().level  # type: ignore[misc]


def test_a_frozen_dataclass_would_do_the_same() -> None:
    @dataclass(frozen=True, slots=True)
    class Frozen:
        x: int
        y: int = 0
        names: tuple[str, ...] = field(default=(), compare=False)

    assert hash(Frozen(1, 2)) == hash(Point(1, 2))
    assert repr(Frozen(1, 2)).split("(", 1)[1] == repr(Point(1, 2)).split("(", 1)[1]
