"""Names in settings -> rules: the built-in ones, or a user's own as "package.module:attribute"."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from policies.availability import AvailabilityFilter
from policies.base import Filter, Scorer
from policies.capacity import CapacityFilter
from policies.chain import Chain
from policies.completion import CompletionScorer
from policies.cost import CostScorer
from policies.deadline import DeadlineFilter
from policies.privacy import PrivacyFilter
from policies.tier import TierFilter

FILTERS: Mapping[str, Callable[[], Filter]] = {
    "tier": TierFilter,
    "availability": AvailabilityFilter,
    "privacy": PrivacyFilter,
    "deadline": DeadlineFilter,
    "capacity": CapacityFilter,
}

DEFAULT_FILTERS = ("availability", "privacy", "deadline", "capacity")
DEFAULT_SCORERS = ("completion", "cost")


def build_chain(
    filters: Sequence[str] = DEFAULT_FILTERS,
    scorers: Sequence[str] = DEFAULT_SCORERS,
    *,
    ms_per_dollar: float = 200.0,
) -> Chain:
    """Return the chain that the settings name.

    Args:
        filters: Names of filters, or "package.module:attribute".
        scorers: Names of scorers, likewise.
        ms_per_dollar: The exchange rate of the cost scorer.

    Raises:
        LookupError: A name is unknown or cannot be imported, or is not a rule.
    """
    scorer_makers: Mapping[str, Callable[[], Scorer]] = {
        "completion": CompletionScorer,
        "cost": lambda: CostScorer(ms_per_dollar),
    }
    return Chain(
        [_find(name, FILTERS, "refuse") for name in filters],
        [_find(name, scorer_makers, "cost") for name in scorers],
    )


def _find(name: str, known: Mapping[str, Callable[[], Any]], verb: str) -> Any:
    if name in known:
        return known[name]()
    module, colon, attribute = name.partition(":")
    if not colon:
        raise LookupError(
            f"unknown rule {name!r}; known are {', '.join(known)}, or name your own as "
            '"package.module:attribute"'
        )
    try:
        rule = getattr(import_module(module), attribute)
        rule = rule() if isinstance(rule, type) else rule
    except Exception as error:  # whatever the user's module does wrong, the name is the culprit
        raise LookupError(f"rule {name!r} cannot be imported: {error}") from error
    if not callable(getattr(rule, verb, None)) or not isinstance(getattr(rule, "name", None), str):
        raise LookupError(
            f"rule {name!r} needs a `name` and a method `{verb}`; see policies/base.py"
        )
    return rule
