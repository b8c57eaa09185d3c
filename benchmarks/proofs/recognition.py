"""How well private values are found in seen, unseen and hostile texts, and what it costs."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.proofs.recognising.adversarial import CHANGES
from benchmarks.proofs.recognising.score import Score, score
from benchmarks.proofs.recognising.texts import ADVERSARIAL, SPLITS, texts
from benchmarks.proofs.recognising.values import MAKERS, STRUCTURED
from benchmarks.proofs.report import Check, Outcome, Progress, no_progress
from orchestrator.privacy.catalog import default_recognisers
from orchestrator.privacy.recognisers import Recogniser, find_all

FULL_EACH = 100
LEAST_RECALL = 0.99
"""Of each structured kind, on templates that nobody looked at."""
_LEAST_OVERALL = 0.97
"""Of all structured values, written so that they shall not be seen."""
_FEWER = 10
"""A change of the adversarial split has so many fewer texts a template; there are nine changes."""
_ROUNDS = 5


def prove(each: int = FULL_EACH, seed: int = 1, progress: Progress = no_progress) -> Outcome:
    """Score all splits, and take each recogniser out to see that it is missed.

    Args:
        each: Texts of each template.
        seed: Of the values in them.
        progress: Is told of each split, and of each recogniser taken out.
    """
    recognisers = default_recognisers()
    scores: dict[str, Score] = {}
    for split in (*SPLITS, ADVERSARIAL):
        many = each if split in SPLITS else -(-each // _FEWER)
        scores[split] = score(texts(split, many, seed), recognisers)
        progress(1)
    checks = (
        *(_recall_of_each(split, scores[split]) for split in SPLITS),
        _recall_of_all(scores[ADVERSARIAL]),
        _control(recognisers, max(each // _FEWER, 1), seed, progress),
    )
    terms = {"texts": sum(one.texts for one in scores.values()), "seed": seed}
    tables = _tables(scores, recognisers, seed)
    return Outcome("recognition", terms, checks, tables=tables)


def units() -> int:
    """Return how many units of work there are."""
    return len(SPLITS) + 1 + len(default_recognisers())


def missed_kinds(counted: Score) -> list[str]:
    """Return the structured kinds of which too few were found."""
    return [kind for kind in STRUCTURED if counted.recall(kind) < LEAST_RECALL]


def _recall_of_each(split: str, counted: Score) -> Check:
    worst = min(STRUCTURED, key=counted.recall)
    return Check(
        f"{split} templates: each structured kind is found, recall at least {LEAST_RECALL}",
        f"{counted.texts:,} texts, {sum(counted.there.values()):,} values; worst {worst} "
        f"{counted.recall(worst):.4f}; {counted.clean / counted.texts:.2%} of texts fully clean",
        not missed_kinds(counted),
    )


def _recall_of_all(counted: Score) -> Check:
    recall = counted.recall(*STRUCTURED)
    return Check(
        "adversarial formats: structured values are found all the same, recall at least "
        f"{_LEAST_OVERALL}",
        f"{counted.texts:,} texts, recall {recall:.4f}; "
        f"{counted.clean / counted.texts:.2%} of texts fully clean",
        recall >= _LEAST_OVERALL,
    )


def _control(recognisers: Sequence[Recogniser], each: int, seed: int, progress: Progress) -> Check:
    """Take each recogniser out, and see that the check of the unseen templates says so."""
    unmissed = []
    for out in recognisers:
        rest = [one for one in recognisers if one is not out]
        counted = score(texts("unseen", each, seed), rest)
        # Of dates of birth no recall is promised, so that theirs is looked at by itself.
        if not missed_kinds(counted) and counted.recall("birth_date") >= LEAST_RECALL:
            unmissed.append(type(out).__name__)
        progress(1)
    return Check(
        "the positive control: any one recogniser taken out is missed",
        f"{len(recognisers) - len(unmissed)} of {len(recognisers)} are"
        + "".join(f"; not {name}" for name in unmissed),
        not unmissed,
    )


def _tables(
    scores: dict[str, Score], recognisers: Sequence[Recogniser], seed: int
) -> dict[str, list[dict[str, Any]]]:
    by_kind = {
        f"{split}: {counted.texts:,} texts": [
            *(_row(counted, kind, kind) for kind in MAKERS),
            _row(counted, "all"),
        ]
        for split, counted in scores.items()
    }
    return {
        **by_kind,
        "adversarial: values missed, by change": _missed_by_change(scores[ADVERSARIAL]),
        "cost: milliseconds of CPU a thousand characters": cost(
            [text.text for text in texts("seen", 3, seed)], recognisers
        ),
    }


def _row(counted: Score, name: str, *kinds: str) -> dict[str, Any]:
    return {
        "kind": name,
        "values": sum(counted.there[kind] for kind in kinds or counted.there),
        "recall": f"{counted.recall(*kinds):.4f}",
        "named right": f"{counted.named_right(*kinds):.4f}",
        "precision": f"{counted.precision(*kinds):.4f}",
        "F2": f"{counted.f2(*kinds):.4f}",
    }


def _missed_by_change(counted: Score) -> list[dict[str, Any]]:
    missed = Counter(text.change for _, text in counted.missed)
    return [{"change": change, "missed": missed[change]} for change in CHANGES]


def cost(lines: Sequence[str], recognisers: Sequence[Recogniser]) -> list[dict[str, Any]]:
    """Return what it takes to read lines that are full of values, and texts without any."""
    prose = "Thank you for the talk of today, we shall send the offer soon and hope it suits. " * 50
    kinds = {
        "short texts with a value or two": lines,
        "prose without values": [prose],
        "the same in short lines": [prose.replace(", ", ",\n")],
        "the same with an accent": [prose.replace("soon", "s\u00f6on")],
    }
    return [
        {"text": name, "ms per KB": _milliseconds(some, recognisers)}
        for name, some in kinds.items()
    ]


def _milliseconds(lines: Sequence[str], recognisers: Sequence[Recogniser]) -> float:
    def once() -> float:
        began = time.process_time()
        for line in lines:
            find_all(line, recognisers)
        return time.process_time() - began

    return round(min(once() for _ in range(_ROUNDS)) * 1e6 / sum(map(len, lines)), 2)
