"""What a decorator was told, checked: an option that is taken unread could give data away."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, get_args

from orchestrator.core.call import Privacy
from orchestrator.core.deadline import Duration
from orchestrator.core.errors import DefinitionError
from orchestrator.core.model import Model
from orchestrator.core.spec import DEFAULT_DEADLINE
from policies.facts import Placement, Spread, Tier

_WANTED: Mapping[str, tuple[type | UnionType, str]] = {
    "idempotent": (bool | None, "True or False"),
    "declassifies": (bool, "True or False"),
    "inline": (bool, "True or False"),
    "name": (str, "text"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a decorator was told; `edge_options` and `cloud_options` say what each means."""

    overflow: Tier | None = None
    fallback: Tier | None = None
    models: Iterable[Model] = ()
    deadline: Duration = DEFAULT_DEADLINE
    idempotent: bool | None = None
    declassifies: bool = False
    inline: bool = False
    name: str = ""
    privacy: Privacy = "refuse"

    def __post_init__(self) -> None:
        for option, (kind, wanted) in _WANTED.items():
            self._need(option, isinstance(getattr(self, option), kind), wanted)
        # To Python True is a number, too.
        self._need("deadline", not isinstance(self.deadline, bool), 'seconds or text like "300ms"')
        if self.privacy not in get_args(Privacy):
            raise DefinitionError(
                f"privacy={self.privacy!r}: say {', '.join(map(repr, get_args(Privacy)))}"
            )
        given: Any = self.models
        models = () if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
        if (given and not models) or not all(isinstance(model, Model) for model in models):
            raise DefinitionError(f"models={given!r}: give models, such as [TextEmbedding(...)]")
        object.__setattr__(self, "models", models)

    def _need(self, option: str, right: bool, wanted: str) -> None:
        if not right:
            given = type(getattr(self, option)).__name__
            raise DefinitionError(f"{option}= takes {wanted}, not {given}")

    def placement(self, home: Tier) -> Placement:
        """Return the tiers the service may use; raise DefinitionError if they contradict."""
        others: list[Any] = [tier for tier in (self.overflow, self.fallback) if tier is not None]
        if unknown := [tier for tier in others if tier not in ("edge", "cloud")]:
            raise DefinitionError(f"there is no tier {unknown[0]!r}: name edge or cloud")
        if len(others) == 2:
            raise DefinitionError(
                "overflow lets both tiers compete, fallback keeps the other for need: choose one"
            )
        if home in others:
            raise DefinitionError(f"the {home} is the service's home: name the other tier")
        if self.declassifies and others:
            raise DefinitionError("a declassifier runs at the edge only: no overflow, no fallback")
        if self.privacy == "local" and others:
            raise DefinitionError(
                "with overflow or fallback labelled calls stay at the edge by themselves: leave "
                'privacy="local" out'
            )
        spread: Spread = "overflow" if self.overflow else "fallback" if self.fallback else "home"
        return Placement(home, spread)
