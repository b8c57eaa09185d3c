# mypy: disable-error-code="empty-body"
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.core.errors import DefinitionError
from orchestrator.core.labels import Internal, Sensitive
from orchestrator.core.service import Handle
from orchestrator.core.spec import read_signature
from orchestrator.decorators import edge_service
from orchestrator.testing import fresh_catalogue

missing = SimpleNamespace()


def same(x: int, y: str = "") -> bool: ...
async def same_async(x: int, y: str = "") -> bool: ...
def other_name(z: int, y: str = "") -> bool: ...
def other_type(x: float, y: str = "") -> bool: ...
def other_result(x: int, y: str = "") -> int: ...
def other_order(y: str, x: int) -> bool: ...
def streamed(x: int, y: str = "") -> Iterator[bool]:
    yield True


def internal(x: Internal[int], y: str = "") -> Internal[bool]: ...
def sensitive(x: Sensitive[int], y: str = "") -> Sensitive[bool]: ...
def required(x: int, y: str) -> bool: ...


def version(body: Callable[..., Any], **options: Any) -> str:
    with fresh_catalogue():
        handle: Handle[..., Any] = edge_service(body, **options)
    return handle.spec.version


def generator() -> Iterator[int]:
    yield 1


def long_generator() -> Generator[int, None, str]:
    yield 1
    return "end"


async def async_generator() -> AsyncIterator[int]:
    yield 1


async def long_async_generator() -> AsyncGenerator[int, None]:
    yield 1


def returned_iterator() -> Iterator[int]:
    return iter([1])


async def coroutine() -> int:
    return 1


def yields_list() -> list[int]:  # type: ignore[misc]
    yield 1


async def yields_without() -> int:  # type: ignore[misc]
    yield 1


async def awaited_async_iterator() -> AsyncIterator[int]:
    return async_generator()


async def awaited_iterator() -> Iterator[int]:
    return iter([1])


async def async_yields_iterator() -> Iterator[int]:  # type: ignore[misc]
    yield 1


def yields_async_iterator() -> AsyncIterator[int]:  # type: ignore[misc]
    yield 1


def returned_async_iterator() -> AsyncIterator[int]:
    return async_generator()


def varargs(*xs: int) -> None: ...
def keywords(**xs: int) -> None: ...
def unannotated(x) -> None: ...  # type: ignore[no-untyped-def]
def no_result(x: int): ...  # type: ignore[no-untyped-def]
def unknown_name(x: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def unknown_attribute(x: "missing.Thing") -> None: ...  # type: ignore[name-defined]
def no_expression(x: "list[") -> None: ...  # type: ignore[valid-type]  # noqa: F722
def quoted(x: "list[int]") -> "int": ...
def positional(x: int, /) -> int: ...


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (same, "function"),
        (coroutine, "coroutine"),
        (generator, "stream"),
        (long_generator, "stream"),
        (returned_iterator, "stream"),
        (async_generator, "async stream"),
        (long_async_generator, "async stream"),
    ],
)
def test_the_return_annotation_decides_the_kind(body: Callable[..., Any], kind: str) -> None:
    found, schema = read_signature(body, "f")
    assert found == kind
    if "stream" in kind:
        assert schema.result.text == "int"


@pytest.mark.parametrize(
    ("body", "cure"),
    [
        (varargs, r"f takes \*xs: spell its parameters out"),
        (keywords, r"f takes \*xs: spell its parameters out"),
        (unannotated, "f: parameter 'x' has no annotation"),
        (no_result, "f: its result has no annotation; write -> None if it has none"),
        (unknown_name, "'Nowhere' is not defined .* declare that type above the service"),
        (yields_list, r"f yields: annotate its result as Iterator\[...\]"),
        (yields_without, r"f yields: annotate its result as AsyncIterator\[...\]"),
        (awaited_async_iterator, "f returns an async iterator: write `yield` in its body"),
    ],
)
def test_a_signature_that_cannot_be_served_names_the_cure(
    body: Callable[..., Any], cure: str
) -> None:
    with pytest.raises(DefinitionError, match=cure):
        read_signature(body, "f")


@pytest.mark.parametrize(
    "body",
    [awaited_iterator, async_yields_iterator, yields_async_iterator, returned_async_iterator],
)
def test_a_body_of_another_kind_than_its_annotation_is_refused(body: Callable[..., Any]) -> None:
    with pytest.raises(DefinitionError):
        read_signature(body, "f")


@pytest.mark.parametrize("body", [unknown_attribute, no_expression])
def test_every_annotation_that_does_not_resolve_is_a_definition_error(
    body: Callable[..., Any],
) -> None:
    with pytest.raises(DefinitionError):
        read_signature(body, "f")


def test_a_positional_only_parameter_is_refused() -> None:
    with pytest.raises(DefinitionError, match="x"):
        read_signature(positional, "f")


def test_annotations_in_quotes_are_read_as_what_they_name() -> None:
    assert read_signature(quoted, "f")[1].text == "(x: list[int]) -> int"


def test_equal_signatures_are_one_version_whatever_runs_behind_them() -> None:
    assert version(same) == version(same_async) == version(same, deadline="1s", idempotent=True)
    assert len(version(same)) == 12


@pytest.mark.parametrize(
    "body", [other_name, other_type, other_result, other_order, streamed, internal, sensitive]
)
def test_what_a_caller_must_know_is_another_version(body: Callable[..., Any]) -> None:
    assert version(body) != version(same)


def test_labels_and_their_removal_are_part_of_the_version() -> None:
    assert version(internal) != version(sensitive)
    assert version(internal) != version(internal, declassifies=True)


def test_a_parameter_that_became_required_is_another_version() -> None:
    assert version(same) != version(required)


def test_a_tier_without_its_own_body_runs_the_common_one() -> None:
    handle = edge_service(same, overflow="cloud")
    declaration = handle.declaration

    @handle.on("cloud")
    def replaced(x: int, y: str = "") -> bool: ...

    assert declaration.body_on("edge") is same
    assert declaration.body_on("cloud").__name__ == "replaced"
    assert replaced is handle
