"""The frozen facts that rules see (labels, calls, endpoints) and the Decision made of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Literal

from policies.record import record

Tier = Literal["edge", "cloud"]
"""Where a node stands."""

Spread = Literal["home", "overflow", "fallback"]
"""How far a service may leave its home tier; see `Placement`."""


class Level(IntEnum):
    """How private data is, from the least to the most."""

    PUBLIC = 0
    INTERNAL = 1
    SENSITIVE = 2
    SECRET = 3


@dataclass(frozen=True, slots=True)
class Label:
    """How private a value is: a level and a set of categories such as "pii"."""

    level: Level = Level.PUBLIC
    categories: frozenset[str] = frozenset()

    def join(self, other: "Label") -> "Label":
        """Return the least label that is at least as private as both."""
        return Label(max(self.level, other.level), self.categories | other.categories)

    def covers(self, other: "Label") -> bool:
        """Say whether this label is at least as private as the other."""
        if other is PUBLIC:
            return True
        return other.level <= self.level and other.categories <= self.categories

    def __str__(self) -> str:
        return _in_words(self.level, self.categories)


PUBLIC = Label()


@dataclass(frozen=True, slots=True)
class Clearance:
    """The most private data that a place may see.

    Attributes:
        level: The highest level that may go there.
        categories: The categories that may go there; None means all of them.
    """

    level: Level = Level.PUBLIC
    categories: frozenset[str] | None = None

    def covers(self, label: Label) -> bool:
        """Say whether data with this label may go there."""
        if label is PUBLIC:
            return True
        if label.level > self.level:
            return False
        return self.categories is None or label.categories <= self.categories

    def meet(self, other: "Clearance") -> "Clearance":
        """Return the clearance of data that must pass both."""
        if self.categories is None:
            categories = other.categories
        elif other.categories is None:
            categories = self.categories
        else:
            categories = self.categories & other.categories
        return Clearance(min(self.level, other.level), categories)

    def __str__(self) -> str:
        if self.categories is None:
            return self.level.name.lower()
        return _in_words(self.level, self.categories, always=True)


def _in_words(level: Level, categories: frozenset[str], *, always: bool = False) -> str:
    """Return the words of a label; they stand in logs, where a category must not break a line."""
    name = level.name.lower()
    if not categories and not always:
        return name
    shown = ("".join(c if c.isprintable() else "?" for c in text) for text in sorted(categories))
    return f"{name}{{{', '.join(shown)}}}"


@dataclass(frozen=True, slots=True)
class Placement:
    """The tiers a service may run on.

    Attributes:
        home: The tier its decorator names.
        spread: "home" keeps that promise; "overflow" lets both tiers compete by cost;
            "fallback" uses the other tier only after every home endpoint.
    """

    home: Tier
    spread: Spread = "home"

    def allows(self, tier: Tier) -> bool:
        """Say whether the service may run on that tier at all."""
        return tier == self.home or self.spread != "home"

    def prefers(self, tier: Tier) -> bool:
        """Say whether that tier ranks first, before any cost is compared."""
        return tier == self.home or self.spread == "overflow"

    def __str__(self) -> str:
        if self.spread == "home":
            return self.home
        other = "cloud" if self.home == "edge" else "edge"
        return f"{self.home}, {self.spread} to {other}"


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What rules may know of a call: never its payload.

    Attributes:
        service: The service's name.
        version: The digest of the signature that the caller knows.
        label: The join of the labels of all that the call carries.
        placement: The tiers the call may use.
        payload_bytes: About how many bytes of arguments must travel.
        remaining_ms: Time left before the deadline, in milliseconds.
    """

    service: str
    version: str
    label: Label
    placement: Placement
    payload_bytes: int
    remaining_ms: float


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """A snapshot of one endpoint as the caller sees it, for one service.

    Attributes:
        name: The node's name in the settings.
        tier: Where it stands.
        clearance: The most private data it may receive.
        ready: Whether it can be reached and says that it serves.
        reason: Why it is not ready, in words; empty when it is.
        version: The version of the asked service it serves; None if it serves none.
        circuit_open: Whether its circuit breaker refuses calls now.
        in_flight: Calls that this caller has there or waiting to go there.
        capacity: The most calls this caller may have there or waiting.
        waiting: Calls in the node, from all callers, at the last report.
        parallelism: Calls the node works on side by side.
        round_trip_ms: Time on the network for an empty call, in milliseconds.
        bytes_per_ms: Speed of the network for large payloads.
        service_ms: Time the service takes there by itself; 0 when nothing is known.
        delay_ms: By how much each call ahead delays one of this service; None when nobody knows.
        dollars_per_hour: What the node costs while it works.
    """

    name: str
    tier: Tier
    clearance: Clearance
    ready: bool = True
    reason: str = ""
    version: str | None = ""
    circuit_open: bool = False
    in_flight: int = 0
    capacity: int = 1024
    waiting: int = 0
    parallelism: int = 1
    round_trip_ms: float = 0.0
    bytes_per_ms: float = 100_000.0
    service_ms: float = 0.0
    delay_ms: float | None = None
    dollars_per_hour: float = 0.0


@record
class Verdict:
    """One filter's refusal of one endpoint, with its reason in words."""

    endpoint: str
    tier: Tier
    filter: str
    reason: str


@record
class Candidate:
    """An endpoint that passed every filter.

    Attributes:
        endpoint: What the filters and scorers saw.
        preferred: Whether it ranks before those that are not, whatever they cost.
        cost_ms: Its predicted cost in milliseconds.
        joined: Calls that have joined it since (or left it, below 0); the cost counts them.
    """

    endpoint: EndpointFacts
    preferred: bool
    cost_ms: float
    joined: int = 0

    @property
    def name(self) -> str:
        """The endpoint's name."""
        return self.endpoint.name

    @property
    def busy(self) -> EndpointFacts:
        """The endpoint with the calls that have joined it."""
        if not self.joined:
            return self.endpoint
        ahead = max(self.endpoint.in_flight, self.endpoint.waiting) + self.joined
        return replace(self.endpoint, in_flight=ahead, waiting=0)

    def rank(self) -> tuple[bool, float, str]:
        """Return what candidates are sorted by."""
        return not self.preferred, self.cost_ms, self.endpoint.name


Terms = Callable[[CallFacts, EndpointFacts], Mapping[str, float]]
"""One scorer's cost, term by term, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a call may go, best first, and why it may not go elsewhere.

    It is the only source of endpoints for sending and for every later attempt.
    """

    call: CallFacts
    candidates: tuple[Candidate, ...]
    refused: tuple[Verdict, ...]
    terms: tuple[Terms, ...] = field(default=(), repr=False, compare=False)

    @property
    def refused_by_privacy(self) -> bool:
        """Whether privacy alone is enough to keep the call from every node of its tiers.

        It is, when each of them was refused by the privacy filter, whatever else spoke
        against it: no repair of the fleet would let the call pass.
        """
        by_filter = {name: self._refused_by(name) for name in ("tier", "privacy")}
        eligible = {verdict.endpoint for verdict in self.refused} - by_filter["tier"]
        return not self.candidates and bool(eligible) and eligible <= by_filter["privacy"]

    def _refused_by(self, name: str) -> set[str]:
        return {verdict.endpoint for verdict in self.refused if verdict.filter == name}

    def explain(self) -> str:
        """Return the decision as a table whose sums can be checked by hand."""
        call = self.call
        lines = [
            f"{call.service}: label {call.label}, {call.payload_bytes:,} bytes, "
            f"{call.remaining_ms:,.0f} ms left, placed on {call.placement}"
        ]
        lines += self._explain_candidates() or ["  no endpoint passed the filters"]
        if self.refused:
            lines.append("  refused")
        lines += [f"     {v.endpoint} ({v.tier}) by {v.filter}: {v.reason}" for v in self.refused]
        return "\n".join(lines)

    def _explain_candidates(self) -> list[str]:
        """Return one line a candidate, with a column for each term of its cost."""
        if not self.candidates:
            return []
        terms = [self._terms(candidate) for candidate in self.candidates]
        rows = [["", "endpoint", "tier", "total ms", *terms[0]]]
        for rank, (candidate, parts) in enumerate(zip(self.candidates, terms, strict=True), 1):
            costs = [f"{ms:.2f}" for ms in (candidate.cost_ms, *parts.values())]
            rows.append([f"{rank}.", candidate.name, candidate.endpoint.tier, *costs])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [_line(row, widths) for row in rows]
        preferred = sum(candidate.preferred for candidate in self.candidates)
        if preferred < len(self.candidates):
            lines.insert(1 + preferred, "  fallback")
        return lines

    def _terms(self, candidate: Candidate) -> dict[str, float]:
        parts: dict[str, float] = {}
        for itemise in self.terms:
            for name, ms in itemise(self.call, candidate.busy).items():
                parts[name] = parts.get(name, 0.0) + ms
        return parts


def _line(row: list[str], widths: list[int]) -> str:
    equals, plus = ("=", "+") if row[0] else (" ", " ")
    words = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=False)]
    total, *terms = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
    return f"  {' '.join(words)} {total} {equals} " + f" {plus} ".join(terms)
