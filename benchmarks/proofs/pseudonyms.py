"""Pseudonyms and back: texts come back as they stood, out of threads and changed answers, too."""

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from benchmarks.proofs.report import Check, Outcome, Progress, no_progress
from orchestrator.privacy.catalog import default_recognisers
from orchestrator.privacy.checksums import luhn_holds
from orchestrator.privacy.pseudonyms import PseudonymSession
from orchestrator.privacy.restoring import Restored

FULL_TEXTS = 100_000
A_SESSION = 1000
"""Texts of one session."""

THREADS = 16

_SENTENCE = "Dear friend send the bill of max_retries utf_8 to my house EMAIL_ADDRESS in May"
_WORDS = _SENTENCE.split()
_BETWEEN = [
    " ",
    " ",
    " ",
    ", ",
    "\n",
    "\t",
    "",
    "_",
    "-",
    "\\n",
    "**",
    "'s ",
    "\u00a0",
    '"',
    "\u00e9",
]
_HALVES = [
    "EMAIL_",
    "CARD_7F3K",
    "7F3K9QXC",
    "EMAIL",
    "_2C3D4F5H",
    "\\u005f",
    "\ud83d\ude00",
    "\u200b",
]


@dataclass
class Drawn:
    """A text, and the e-mail addresses and cards that stand in it between spaces."""

    text: str
    values: list[str] = field(default_factory=list)


def texts(count: int, seed: int, tokens: list[str]) -> Iterator[Drawn]:
    """Yield texts of words, private values in many spellings, tokens, and parts of tokens.

    Args:
        count: How many.
        seed: Where they come from.
        tokens: Tokens of this and of other sessions.
    """
    source = random.Random(seed)
    for _ in range(count):
        drawn, parts = Drawn(""), list[str]()
        for _ in range(source.randint(1, 12)):
            kind = source.random()
            if kind < 0.3:
                value = _spelt(source, _email(source) if kind < 0.2 else _card(source))
                drawn.values.append(value)
                parts += [" ", value, " "]
            elif kind < 0.45:
                parts.append(_spelt(source, source.choice(tokens)))
            else:
                parts.append(source.choice(_HALVES if kind < 0.55 else _WORDS))
            parts.append(source.choice(_BETWEEN))
        drawn.text = "".join(parts)
        yield drawn


def _email(source: random.Random) -> str:
    return f"{source.choice('abcdefgh')}{source.randrange(60)}@{source.choice(['x', 'yz'])}.example"


def _card(source: random.Random) -> str:
    digits = f"4{source.randrange(10**14):014}"
    whole = next(digits + last for last in "0123456789" if luhn_holds(digits + last))
    return source.choice([whole, " ".join(whole[at : at + 4] for at in range(0, 16, 4))])


def _spelt(source: random.Random, text: str) -> str:
    return source.choice([text, text, text.upper(), text.lower(), text.title()])


EDITS: dict[str, Callable[[str], str]] = {
    "as it is": lambda token: token,
    "lower case": str.lower,
    "possessive": lambda token: f"{token}'s and {token}\u2019s",
    "emphasis": lambda token: f"**{token}**, _{token}_ and `{token}`",
    "Markdown": lambda token: token.replace("_", "\\_"),
    "JSON": lambda token: json.dumps(f"a\n{token}\nb"),
    "hyphenated": lambda token: f"{token[:-3]}-\n    {token[-3:]}",
    "soft spaces": lambda token: f"{token[:-3]}\u00ad\u00a0{token[-3:]}",
    "quoted mail": lambda token: f"> {token[:-4]}\r\n> {token[-4:]}",
}
"""What a model does to a token."""

_CHANGED = {
    "hyphenated",
    "soft spaces",
    "quoted mail",
    "lower case",
    "Markdown",
}  # the token itself


def edited(edit: str, token: str, value: str) -> tuple[str, str]:
    """Return an answer with a token that was changed, and what it is when it is restored."""
    answer = EDITS[edit](token)
    if edit in _CHANGED:
        return answer, f"> {value}" if edit == "quoted mail" else value
    return answer, answer.replace(token, value)


@dataclass
class Seen:
    """What was seen of texts."""

    texts: int = 0
    wrong: int = 0
    leaked: int = 0
    reported: int = 0
    values: int = 0

    def note(self, drawn: Drawn, sent: str, back: Restored) -> None:
        """Count one text, what was sent of it, and what came back."""
        self.texts += 1
        self.values += len(drawn.values)
        self.wrong += back.text != drawn.text
        self.leaked += any(value in sent for value in drawn.values)
        self.reported += bool(back.unresolved or back.invented)


def sessions(count: int, seed: int) -> Iterator[tuple[PseudonymSession, list[Drawn]]]:
    """Yield sessions and their texts, some of which hold tokens of the session itself."""
    for number, first in enumerate(range(0, count, A_SESSION)):
        session, other = (PseudonymSession(default_recognisers(), capacity=10**6) for _ in "ab")
        tokens = [s.pseudonymise(f"{name}@x.example") for s in (session, other) for name in "abcd"]
        amount = min(A_SESSION, count - first)
        yield session, list(texts(amount, seed * 10**6 + number, tokens))


def alone(count: int, seed: int, progress: Progress) -> Seen:
    """Send texts and take them back, one after the other."""
    seen = Seen()
    for session, drawn in sessions(count, seed):
        for each in drawn:
            sent = session.pseudonymise(each.text)
            seen.note(each, sent, session.restore(sent))
        progress(len(drawn))
    return seen


def together(count: int, seed: int, progress: Progress) -> tuple[Seen, int]:
    """Do the same in 16 threads that share each session; return also the codes that differ."""
    seen, split = Seen(), 0
    with ThreadPoolExecutor(THREADS) as pool:
        for session, drawn in sessions(count, seed):

            def there_and_back(
                each: Drawn, session: PseudonymSession = session
            ) -> tuple[Drawn, str, Restored]:
                sent = session.pseudonymise(each.text)
                return each, sent, session.restore(sent)

            for found in pool.map(there_and_back, drawn):
                seen.note(*found)
            probes = list(pool.map(session.pseudonymise, ["a1@x.example"] * THREADS))
            split += len(set(probes)) - 1
            progress(len(drawn))
    return seen, split


def answers(count: int, seed: int) -> dict[str, int]:
    """Return how many answers of each edit came back otherwise than they should."""
    source, wrong = random.Random(seed), dict.fromkeys(EDITS, 0)
    session = PseudonymSession(default_recognisers(), capacity=10**6)
    for number in range(count):
        edit = list(EDITS)[number % len(EDITS)]
        value = f"{source.choice('abc')}{source.randrange(10**6)}@x.example"
        answer, right = edited(edit, session.pseudonymise(value), value)
        around = source.choice(["see {}.", "({})", "{}", "\n{}\n", "\u898b{}\u308b"])
        wrong[edit] += session.restore(around.format(answer)).text != around.format(right)
    return wrong


def in_pieces(count: int, seed: int) -> int:
    """Return how many texts came back otherwise when they came in pieces."""
    source, wrong = random.Random(seed), 0
    for session, drawn in sessions(count, seed):
        for each in drawn:
            sent, restorer, out = session.pseudonymise(each.text), session.restorer(), list[str]()
            while sent:
                cut = source.randint(1, 8)
                out += restorer.feed(sent[:cut])
                sent = sent[cut:]
            wrong += "".join(out + restorer.finish()) != each.text
    return wrong


def broken(count: int, seed: int) -> int:
    """Return how many texts come back wrong if tokens are replaced without their borders."""
    wrong = 0
    for session, drawn in sessions(count, seed):
        known: dict[str, str] = {}
        for each in drawn:
            sent = session.pseudonymise(each.text)
            for value in each.values:
                known[session.pseudonymise(value)] = value
            for token, value in known.items():
                sent = sent.replace(token, value)
            wrong += sent != each.text
    return wrong


async def prove(
    count: int = FULL_TEXTS, seed: int = 1, progress: Progress = no_progress
) -> Outcome:
    """Send texts through sessions of pseudonyms and look at what comes back."""
    return await asyncio.to_thread(_prove, count, seed, progress)


def _prove(count: int, seed: int, progress: Progress) -> Outcome:
    began = time.process_time()
    one = alone(count, seed, progress)
    seconds = time.process_time() - began
    many, split = together(count, seed + 1, progress)
    few = max(count // 10, 100)
    changed, cut = answers(few, seed), in_pieces(few, seed + 2)
    control = broken(few // 10, seed + 3)
    checks = (
        _same("texts come back exactly as they stood", one),
        _same(f"the same holds for {THREADS} threads that share a session", many),
        Check(
            "no e-mail address and no card of a text stands in what is sent",
            f"{one.leaked + many.leaked} of {one.values + many.values:,} values",
            one.leaked + many.leaked == 0,
        ),
        Check("threads get one token for one value", f"{split} others", split == 0),
        Check(
            "tokens in a text that is sent are not taken for tokens of an answer",
            f"{one.reported + many.reported} reported",
            one.reported + many.reported == 0,
        ),
        Check(
            f"tokens are restored after {len(EDITS)} changes that models make",
            ", ".join(f"{edit} {n}" for edit, n in changed.items() if n) or f"0 of {few:,} wrong",
            not any(changed.values()),
        ),
        Check("texts in pieces come back like whole ones", f"{cut} of {few:,} wrong", cut == 0),
        Check(
            "the positive control, a restore that knows no borders of tokens, is found",
            f"{control} of {few // 10:,} wrong",
            control > 0,
        ),
    )
    terms: dict[str, Any] = {"texts": count, "threads": THREADS, "seed": seed}
    figures = {"microseconds_a_text": round(seconds / count * 1e6), "values": one.values}
    return Outcome("pseudonyms", terms, checks, figures)


def _same(promise: str, seen: Seen) -> Check:
    return Check(promise, f"{seen.wrong} of {seen.texts:,} wrong", seen.wrong == 0)
