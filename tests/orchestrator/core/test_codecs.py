from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from orchestrator.core.codecs import codec_named, codec_of, register_codec
from orchestrator.core.errors import DefinitionError, InvalidInput
from orchestrator.decorators import edge_service
from orchestrator.wire.payloads import pack, unpack


class Money:
    """A type that the library does not know."""

    def __init__(self, amount: Decimal, currency: str) -> None:
        self.amount = amount
        self.currency = currency


class Unknown:
    pass


register_codec(
    Money, lambda m: [str(m.amount), m.currency], lambda v: Money(Decimal(v[0]), v[1]), name="money"
)


@dataclass
class Basket:
    prices: list[Money]


@edge_service
def total(basket: Basket, extra: Money | None = None) -> Money:
    return Money(sum((m.amount for m in basket.prices), Decimal(0)), "EUR")


def class_named(qualname: str) -> type[Any]:
    return type(qualname, (), {"__qualname__": qualname, "__module__": f"shop.{id(qualname)}"})


def test_a_registered_type_may_stand_anywhere_in_a_signature() -> None:
    assert (
        total.spec.schema.text
        == "(basket: Basket(prices: list[Money]), extra: Money | None = ...) " + ("-> Money")
    )


def test_a_registered_type_comes_back_as_itself() -> None:
    arguments = {"basket": Basket([Money(Decimal("1.10"), "EUR")]), "extra": None}
    loaded = total.spec.schema.load(unpack(pack(arguments)))["basket"].prices[0]
    assert isinstance(loaded, Money)
    assert (loaded.amount, loaded.currency) == (Decimal("1.10"), "EUR")


def test_another_type_is_no_money() -> None:
    with pytest.raises(InvalidInput, match="'extra'"):
        total.spec.schema.bind((Basket([]), Unknown()), {})


def test_a_type_without_a_codec_names_register_codec() -> None:
    def serve(x: Unknown) -> None: ...

    with pytest.raises(DefinitionError, match="register_codec adds a type"):
        edge_service(serve)


def test_a_codec_is_found_by_type_and_by_name_and_nothing_else_is() -> None:
    assert codec_of(Money) is codec_named("money") is not None
    assert codec_of(Unknown) is codec_of(list[int]) is codec_of(None) is None
    assert codec_named("pickle") is None


def test_without_a_name_the_wire_uses_the_types_own() -> None:
    kind = class_named("Unnamed")
    register_codec(kind, str, lambda v: kind())
    assert codec_named(f"{kind.__module__}.Unnamed") is codec_of(kind)


def test_a_name_that_belongs_to_another_type_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"codec 'money' already belongs to .*Money.*: give"):
        register_codec(Unknown, str, lambda v: Unknown(), name="money")
    assert codec_of(Unknown) is None


def test_a_module_that_is_loaded_again_replaces_its_codec() -> None:
    old = class_named("Reloaded")
    new = type("Reloaded", (), {"__module__": old.__module__})
    register_codec(old, str, lambda v: old(), name="reloaded")
    register_codec(new, str, lambda v: new(), name="reloaded")
    known = codec_named("reloaded")
    assert known is not None
    assert known.kind is new


def test_two_modules_cannot_share_a_codecs_name() -> None:
    here, there = (type("Point", (), {"__module__": module}) for module in ("here", "there"))
    register_codec(here, str, lambda v: here(), name="point")
    with pytest.raises(DefinitionError, match="point"):
        register_codec(there, str, lambda v: there(), name="point")
