"""The caller's settings: isthmus.yaml, ISTHMUS_* in the environment, and how both are read."""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from orchestrator.core.errors import SettingsError
from policies.catalog import DEFAULT_FILTERS, DEFAULT_SCORERS
from policies.facts import Clearance, Level, Tier

M = TypeVar("M", bound=BaseModel)


def parse_clearance(value: Any) -> Clearance:
    """Return a clearance as people write it.

    Args:
        value: "secret", "internal:phi,pii", or {level: internal, categories: [phi]}.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, Clearance):
        return value
    if isinstance(value, str):
        level, colon, names = value.partition(":")
        value = {"level": level, **({"categories": names.split(",")} if colon else {})}
    known = ", ".join(level.name.lower() for level in Level)
    if not isinstance(value, Mapping) or value.keys() - {"level", "categories"}:
        raise ValueError(f"a clearance is one of {known}, or has a level and categories")
    name = str(value.get("level", "")).strip().upper()
    if name not in Level.__members__:
        raise ValueError(f"unknown level {name.lower()!r}: known are {known}")
    return Clearance(
        Level[name], _categories(value["categories"]) if "categories" in value else None
    )


def _categories(given: Any) -> frozenset[str]:
    """Return categories; what was meant to name some and names none must not cover all."""
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list | tuple | set | frozenset):
        raise ValueError("the categories of a clearance are a list of names")
    names = [name.strip() if isinstance(name, str) else "" for name in listed]
    if not all(names):
        raise ValueError(
            "the categories of a clearance are names; leave the key out for all of them"
        )
    return frozenset(names)


ClearanceSetting = Annotated[
    Clearance, BeforeValidator(parse_clearance), PlainSerializer(str, when_used="json")
]


class Section(BaseModel):
    """A part of the settings: frozen, and an unknown key in it is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsSettings(Section):
    """TLS to a node: who signed it, what to show it, and the name its certificate must bear."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    identity: str = ""


class NodeEntry(Section):
    """One node, or with `zone` all nodes behind one DNS name."""

    name: str
    tier: Tier
    address: str = ""
    zone: str = ""
    clearance: ClearanceSetting = Clearance(Level.PUBLIC)
    insecure: bool = False
    tls: TlsSettings = TlsSettings()
    dollars_per_hour: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    max_in_flight: int = Field(default=128, ge=1)

    @model_validator(mode="after")
    def _check(self) -> "NodeEntry":
        if bool(self.address) == bool(self.zone):
            raise ValueError("give the node's address, or the zone whose DNS records are nodes")
        place = self.address or self.zone
        port = re.fullmatch(r".+:([0-9]{1,5})", place)
        if not place.startswith("unix:") and not (port and 0 < int(port[1]) < 2**16):
            raise ValueError(f"{place!r} has no port from 1 to 65535: write host:port")
        if self.insecure and self.tls != TlsSettings():
            raise ValueError("insecure means no TLS: leave one of insecure and tls out")
        return self


class PolicySettings(Section):
    """Which rules decide; privacy and tier always do."""

    filters: tuple[str, ...] = DEFAULT_FILTERS
    scorers: tuple[str, ...] = DEFAULT_SCORERS
    ms_per_dollar: float = Field(default=200.0, ge=0, allow_inf_nan=False)


class ModelSettings(Section):
    """Where the models of an embedded edge and cloud are."""

    store: Path = Path("models")


class Settings(Section):
    """The caller's side. Without nodes, an edge and a cloud are embedded in the process."""

    nodes: tuple[NodeEntry, ...] = ()
    policies: PolicySettings = PolicySettings()
    models: ModelSettings = ModelSettings()
    max_call_mib: int = Field(default=80, ge=1, le=1024)

    @model_validator(mode="after")
    def _check(self) -> "Settings":
        names = [node.name for node in self.nodes]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two nodes are named {', '.join(sorted(twice))}: names must differ")
        return self


def load_settings(path: Path | None = None, given: Mapping[str, Any] | None = None) -> Settings:
    """Return the caller's settings: what is given > ISTHMUS_* environment > file > defaults.

    Raises:
        SettingsError: The file cannot be read, or a key or value in any source is wrong.
    """
    return load(Settings, "ISTHMUS_", path, given or {}, apart="ISTHMUS_NODE_")


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
