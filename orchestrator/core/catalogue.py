"""The catalogue: every declared service, by module and name; written at import only."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from orchestrator.core.errors import DefinitionError
from orchestrator.core.spec import Declaration

_modules: dict[str, dict[str, Declaration]] = {}


def enter(declaration: Declaration) -> None:
    """Enter a declaration; a module that is loaded again replaces its own.

    Raises:
        DefinitionError: The module has another service of that name.
    """
    spec = declaration.spec
    services = _modules.setdefault(spec.module, {})
    known = services.get(spec.name)
    if known and not (_is_interactive(spec.module) or is_reload(known, declaration)):
        raise two_of_one_name(known, declaration)
    services[spec.name] = declaration


def declared(app: str | None = None) -> list[Declaration]:
    """Return the services of an app's module and of the modules below it; of all, for None.

    Raises:
        DefinitionError: Two of them have one name.
    """
    chosen = [
        declaration
        for module, services in _modules.items()
        if app is None or module == app or module.startswith(f"{app}.")
        for declaration in services.values()
    ]
    return unique(chosen)


def unique(declarations: Iterable[Declaration]) -> list[Declaration]:
    """Return declarations in order, each once; raise DefinitionError if two share a name."""
    by_name: dict[str, Declaration] = {}
    for declaration in declarations:
        known = by_name.setdefault(declaration.spec.name, declaration)
        if known is not declaration:
            raise two_of_one_name(known, declaration)
    return list(by_name.values())


@contextmanager
def fresh() -> Iterator[None]:
    """Start with an empty catalogue and put the old one back at the end; for tests."""
    saved = dict(_modules)
    _modules.clear()
    try:
        yield
    finally:
        _modules.clear()
        _modules.update(saved)


def is_reload(known: Declaration, fresh: Declaration) -> bool:
    """Say whether a declaration is a known one, from a module that was loaded again."""
    same_place = (known.spec.module, known.spec.where) == (fresh.spec.module, fresh.spec.where)
    return same_place and known.origin is not fresh.origin


def _is_interactive(module: str) -> bool:
    # In a notebook or a shell a cell is run again at another "line".
    return module == "__main__" and not hasattr(sys.modules.get("__main__"), "__file__")


def two_of_one_name(one: Declaration, other: Declaration) -> DefinitionError:
    """Return the error of two services that share a name."""
    return DefinitionError(
        f"two services are named {one.spec.name!r}: {one.spec.where} and {other.spec.where}; "
        "give one of them another with name="
    )
