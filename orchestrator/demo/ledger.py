"""What happened in the job: every step with where, why and how long; every message once."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core.call import Result
from orchestrator.core.errors import CallError
from policies.facts import Decision

_REFUSED = "privacy refused it"
_SIGNS = {
    "cheapest": "cost decided",
    "not ready": "the cloud was gone",
    "circuit open": "the cloud was gone",
    "privacy": "privacy kept it at the edge",
}
_TITLES = ("cost decided", _REFUSED, "the cloud was gone", "privacy kept it at the edge")


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the job."""

    name: str
    tier: str
    node: str
    why: str
    total_ms: float


@dataclass(slots=True)
class Ledger:
    """The books of one job.

    Attributes:
        submitted: Messages that came in.
        sorted_right: Messages matched to the topic they were written about.
        steps: Every call.
        refused: What privacy refused, by service and reason.
        masked: Personal data masked, by kind.
        lost: Messages without an answer, with what went wrong.
        explained: Decisions worth reading, by what they show.
        events: What happened to the nodes meanwhile.
    """

    submitted: int = 0
    done: int = 0
    sorted_right: int = 0
    steps: list[Step] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    lost: dict[int, str] = field(default_factory=dict)
    explained: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)

    def note(self, name: str, result: Result[Any]) -> None:
        """Enter one call."""
        why = why_there(result.decision, result)
        self.steps.append(Step(name, result.tier, result.node, why, result.total_ms))
        for sign, title in _SIGNS.items():
            if sign in why:
                self.explained[title] = result.decision.explain()

    def note_refusal(self, name: str, error: CallError) -> None:
        """Enter a call that privacy refused."""
        self.refused[name] += 1
        decision = getattr(error, "decision", None)
        if decision is not None:
            self.explained[_REFUSED] = decision.explain()

    def quantile_ms(self, name: str, tier: str, share: float) -> float:
        """Return a quantile of the times of a step on a tier, in milliseconds."""
        times = sorted(step.total_ms for step in self.chosen(name, tier))
        return times[min(int(share * len(times)), len(times) - 1)] if times else 0.0

    def chosen(self, name: str, tier: str) -> list[Step]:
        """Return the steps of a name on a tier; an empty name takes all steps."""
        return [s for s in self.steps if s.tier == tier and name in ("", s.name)]

    def samples(self) -> list[tuple[str, str]]:
        """Return three decisions worth reading, with what they show."""
        found = [(title, self.explained[title]) for title in _TITLES if title in self.explained]
        return found[:3]

    def as_data(self) -> dict[str, Any]:
        """Return the books for programs."""
        pairs = sorted({(step.name, step.tier) for step in self.steps})
        return {
            "submitted": self.submitted,
            "done": self.done,
            "lost": self.lost,
            "sorted_right": self.sorted_right,
            "masked": dict(self.masked),
            "privacy_refused": dict(self.refused),
            "events": self.events,
            "steps": [self._row(name, tier) for name, tier in pairs],
            "explained": self.explained,
        }

    def _row(self, name: str, tier: str) -> dict[str, Any]:
        steps = self.chosen(name, tier)
        return {
            "step": name,
            "tier": tier,
            "calls": len(steps),
            "p50_ms": round(self.quantile_ms(name, tier, 0.5), 2),
            "p99_ms": round(self.quantile_ms(name, tier, 0.99), 2),
            "why": reasons(steps),
        }


def reasons(steps: Iterable[Step]) -> dict[str, int]:
    """Return why steps ran where they did, with counts, the most frequent first."""
    return dict(Counter(step.why for step in steps).most_common())


def why_there(decision: Decision, result: Result[Any]) -> str:
    """Say in a few words why a call ran where it did."""
    if len(result.attempts) > 1:
        return f"{result.attempts[0]} failed, the next candidate took it"
    refused = {verdict.filter: verdict for verdict in decision.refused}
    if "privacy" in refused:
        return f"privacy: {refused['privacy'].reason}"
    if "availability" in refused:
        verdict = refused["availability"]
        return f"{verdict.tier} {verdict.reason.partition(':')[0]}"
    if len(decision.candidates) > 1:
        return "cheapest of both tiers"
    if "tier" in refused:
        return f"promised to the {result.tier}"
    return "the only node"
