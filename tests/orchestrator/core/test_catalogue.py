import re
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.core.catalogue import declared, fresh, unique
from orchestrator.core.errors import DefinitionError
from orchestrator.core.service import Handle, Service
from orchestrator.decorators import cloud_service, edge_service

DOUBLE = """
from orchestrator import edge_service

@edge_service
def double(x: int) -> int:
    return 2 * x
"""


def load(source: str, module: str, file: str = "") -> Any:
    """Run a module's source, as an import would."""
    space: dict[str, Any] = {"__name__": module}
    exec(compile(source, file or f"{module}.py", "exec"), space)
    return SimpleNamespace(**space)


def names(app: str | None = None) -> list[str]:
    return [declaration.spec.name for declaration in declared(app)]


def plain(x: int) -> int:
    return x


def adder(step: int) -> Service[[int], int]:
    @edge_service
    def add(x: int) -> int:
        return x + step

    return add


def test_an_app_has_its_modules_services_and_those_below() -> None:
    for module in ("shop", "shop.prices", "shopping"):
        load(DOUBLE.replace("double", module.replace(".", "_")), module)
    assert names("shop") == ["shop", "shop_prices"]
    assert names() == ["shop", "shop_prices", "shopping"]
    assert names("nobody") == []


def test_two_services_of_one_name_in_a_module_show_both_places() -> None:
    source = DOUBLE + DOUBLE
    with pytest.raises(DefinitionError) as refused:
        load(source, "shop")
    said = str(refused.value)
    assert "two services are named 'double'" in said
    assert "give one of them another with name=" in said
    assert re.findall(r"shop\.py:(\d+)", said) == ["4", "10"]


def test_two_modules_of_an_app_cannot_share_a_name() -> None:
    load(DOUBLE, "shop.a")
    load(DOUBLE, "shop.b")
    assert names("shop.a") == ["double"]
    with pytest.raises(DefinitionError, match=r"shop\.a\.py:4 and shop\.b\.py:4"):
        declared("shop")


def test_another_name_resolves_the_clash() -> None:
    renamed = DOUBLE.replace("@edge_service", "@edge_service(name='twice')")
    load(DOUBLE + renamed, "shop")
    assert names("shop") == ["double", "twice"]


def test_a_module_that_is_loaded_again_replaces_its_services() -> None:
    load(DOUBLE, "shop")
    again = load(DOUBLE.replace("2 * x", "x + x"), "shop")
    assert declared("shop") == [again.double.declaration]


def test_one_service_named_twice_by_an_app_is_one_service() -> None:
    handle = edge_service(plain)
    assert unique([handle.declaration, handle.declaration]) == [handle.declaration]


def test_a_function_cannot_be_two_services_of_one_name() -> None:
    edge_service(plain)
    with pytest.raises(DefinitionError, match="name="):
        cloud_service(plain)


def test_a_factory_cannot_make_two_services_of_one_name() -> None:
    adder(1)
    with pytest.raises(DefinitionError, match="name="):
        adder(2)


def test_a_function_may_be_two_services_of_two_names() -> None:
    handles: list[Handle[..., Any]] = [edge_service(plain), cloud_service(plain, name="other")]
    assert names() == ["plain", "other"]
    assert unique(handle.declaration for handle in handles) == declared()


def test_a_fresh_catalogue_is_empty_and_gives_the_old_one_back() -> None:
    edge_service(plain)
    with fresh():
        assert names() == []
        load(DOUBLE, "shop")
        assert names() == ["double"]
    assert names() == ["plain"]


def test_a_fresh_catalogue_ends_with_a_test_that_failed() -> None:
    edge_service(plain)
    with pytest.raises(DefinitionError), fresh():
        load(DOUBLE + DOUBLE, "shop")
    assert names() == ["plain"]
