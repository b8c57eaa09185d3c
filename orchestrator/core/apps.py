"""An app: the user's module that declares services, named by import path."""

import importlib.util
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from orchestrator.core import catalogue
from orchestrator.core.errors import OrchestratorError, SettingsError, UsageError
from orchestrator.core.methods import handles_of
from orchestrator.core.spec import Declaration


@dataclass(frozen=True, slots=True)
class App:
    """What an app declares.

    Attributes:
        declarations: Its services.
        attribute: What `module:attribute` names; None without one.
    """

    declarations: list[Declaration]
    attribute: Any = None


def load_app(name: str) -> App:
    """Import an app: its module's services, those below it, and those it imported by name.

    Args:
        name: "module" or "module:attribute".

    Raises:
        SettingsError: It cannot be imported, or declares no service.
        DefinitionError: Two of its services have one name.
    """
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = _started_as(module_name) or importlib.import_module(module_name)
    except OrchestratorError:
        raise
    except Exception as error:  # whatever the user's module does at import
        raise SettingsError(
            f"app {name!r} cannot be imported: {error} ({type(error).__name__}); run in the folder "
            "it lies in, or install it"
        ) from error
    if attribute and not hasattr(module, attribute):
        raise SettingsError(f"app {name!r}: module {module_name} has no {attribute!r}")
    found = [*catalogue.declared(module.__name__), *declarations_of(vars(module).values())]
    declarations = catalogue.unique(found)
    if not declarations:
        raise SettingsError(
            f"app {name!r} declares no service: decorate a function with @edge_service or "
            "@cloud_service"
        )
    return App(declarations, getattr(module, attribute) if attribute else None)


def _started_as(name: str) -> ModuleType | None:
    """Return the program itself if that module is what Python was started with.

    Imported a second time, under its own name, it would declare its services twice.
    """
    main = sys.modules.get("__main__")
    started = getattr(main, "__file__", None)
    if main is None or started is None or name in sys.modules:
        return None
    found = importlib.util.find_spec(name)
    same = found and found.origin and os.path.realpath(found.origin) == os.path.realpath(started)
    return main if same else None


def declarations_of(objects: Iterable[Any]) -> list[Declaration]:
    """Return the declarations of those objects that are services or classes of services."""
    return [handle.declaration for thing in objects for handle in handles_of(thing)]


def declarations_named(services: Any) -> list[Declaration]:
    """Return the declarations of services that were named one by one.

    Args:
        services: A service, a class of services, or several of them.

    Raises:
        UsageError: One of them is no service.
        DefinitionError: Two of them have one name.
    """
    if not handles_of(services) and not isinstance(services, Iterable):
        raise UsageError(f"app={services!r}: name a module, or give services")
    things = [services] if handles_of(services) else list(services)
    if plain := [thing for thing in things if not handles_of(thing)]:
        raise UsageError(f"{plain[0]!r} is no service: decorate it first")
    return catalogue.unique(declarations_of(things))
