"""Where settings of any kind come from: what is given, the environment, a YAML file."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from orchestrator.core.errors import SettingsError

M = TypeVar("M", bound=BaseModel)


def load(
    kind: type[M], prefix: str, path: Path | None, given: Mapping[str, Any], apart: str = ""
) -> M:
    """Return settings of any kind from their sources.

    Args:
        kind: The settings.
        prefix: Of the environment variables; `__` stands between a section and its keys.
        path: A YAML file.
        given: What the caller or a flag says; it wins.
        apart: Environment variables with this longer prefix belong to somebody else.

    Raises:
        SettingsError: The file cannot be read, or a key or value in any source is wrong.
    """
    from pydantic_settings import SettingsError as SourceError

    _refuse_unknown_variables(kind, prefix, apart)
    if unknown := [key for key in given if key not in kind.model_fields]:
        raise SettingsError(f"settings: {_unknown(str(unknown[0]), kind)}")
    try:
        found = _with_sources(kind, prefix, _read(path) if path else {})(**given)
    except ValidationError as error:
        raise SettingsError(_in_words(error, kind, path)) from None
    except SourceError as error:
        raise SettingsError(
            f"the environment cannot be read: {error}: a list or a section is written as JSON there"
        ) from None
    return kind(**{name: getattr(found, name) for name in kind.model_fields})


def load_file(kind: type[M], path: Path) -> M:
    """Return settings that stand in one YAML file alone; raises SettingsError as `load` does."""
    try:
        return kind(**_read(path))
    except ValidationError as error:
        raise SettingsError(_in_words(error, kind, path)) from None


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise SettingsError(f"there is no settings file {path}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise SettingsError(f"{path} holds no settings: it must be a list of `key: value`")
    return found


def _with_sources(kind: type[M], prefix: str, file: dict[str, Any]) -> type[M]:
    """Return the same settings that read the environment and a file when they are made."""
    from pydantic_settings import (
        BaseSettings,
        InitSettingsSource,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
    )

    class Sources(BaseSettings, kind):  # type: ignore[misc, valid-type]
        model_config = SettingsConfigDict(
            env_prefix=prefix, env_nested_delimiter="__", extra="forbid"
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Say which source wins over which."""
            return init_settings, env_settings, InitSettingsSource(settings_cls, file)

    return Sources


def _refuse_unknown_variables(kind: type[BaseModel], prefix: str, apart: str) -> None:
    for variable in os.environ:
        if not variable.startswith(prefix) or (apart and variable.startswith(apart)):
            continue
        key = variable.removeprefix(prefix).partition("__")[0].lower()
        if key not in kind.model_fields:
            raise SettingsError(f"environment variable {variable}: {_unknown(key, kind)}")


def _in_words(error: ValidationError, kind: type[BaseModel], path: Path | None) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        *above, key = problem["loc"] or ("",)
        said = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            said = _unknown(str(key), _section(kind, above))
        elif problem["input"] is None:
            said = "it is empty: give it a value, or leave it out"
        lines.append(": ".join(filter(None, [".".join(map(str, problem["loc"])), said])))
    return f"{path or 'settings'}: " + "; ".join(lines)


def _section(kind: type[BaseModel], path: list[int | str]) -> type[BaseModel]:
    """Return the section that a path of keys leads to."""
    for key in path:
        if field := kind.model_fields.get(str(key)):
            parts = (field.annotation, *get_args(field.annotation))
            kind = next(
                (p for p in parts if isinstance(p, type) and issubclass(p, BaseModel)), kind
            )
    return kind


def _unknown(key: str, kind: type[BaseModel]) -> str:
    near = difflib.get_close_matches(key, kind.model_fields, n=1)
    known = f"did you mean {near[0]}?" if near else f"known are {', '.join(kind.model_fields)}"
    return f"unknown key {key!r}; {known}"
