import json
import logging
from pathlib import Path

import pytest

from orchestrator.client import Orchestrator
from orchestrator.core.errors import UsageError

CANARY = "alice-canary-31"


class Cache:
    """Entries of subjects by key."""

    def __init__(self, **entries: str) -> None:
        self.entries = entries

    def forget(self, subject: str) -> int:
        mine = [key for key, whose in self.entries.items() if whose == subject]
        for key in mine:
            del self.entries[key]
        return len(mine)


class Jobs:
    """Jobs in a queue and their results, which both name a subject."""

    def __init__(self, queue: list[str], results: list[str]) -> None:
        self.queue, self.results = queue, results

    def forget(self, subject: str) -> int:
        before = len(self.queue) + len(self.results)
        self.queue = [whose for whose in self.queue if whose != subject]
        self.results = [whose for whose in self.results if whose != subject]
        return before - len(self.queue) - len(self.results)


class Broken:
    def forget(self, subject: str) -> int:
        raise ConnectionError("the store is away")


def test_every_store_forgets_the_subject_and_only_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "isthmus.audit")
    cache, jobs = Cache(a=CANARY, b="bob", c=CANARY), Jobs([CANARY, "bob"], [CANARY])
    orchestrator = Orchestrator()
    orchestrator.keeps("cache", cache)
    orchestrator.keeps("jobs", jobs)
    assert orchestrator.forget("carol") == {"cache": 0, "jobs": 0}
    assert CANARY in cache.entries.values()  # the control
    assert orchestrator.forget(CANARY) == {"cache": 2, "jobs": 2}
    assert (cache.entries, jobs.queue, jobs.results) == ({"b": "bob"}, ["bob"], [])
    assert orchestrator.forget(CANARY) == {"cache": 0, "jobs": 0}
    assert "entries {'cache': 2, 'jobs': 2}, failed []" in caplog.text
    assert CANARY not in caplog.text


def test_a_store_that_fails_is_named_and_the_others_have_forgotten(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "isthmus.audit")
    orchestrator, cache = Orchestrator(), Cache(a=CANARY)
    orchestrator.keeps("vault", Broken())
    orchestrator.keeps("cache", cache)
    with pytest.raises(ExceptionGroup, match="not forgotten everywhere: vault failed") as caught:
        orchestrator.forget(CANARY)
    assert cache.entries == {}
    assert caught.value.exceptions[0].__notes__ == ["raised by the store 'vault'"]
    assert "failed ['vault']" in caplog.text


def test_nobody_cannot_be_forgotten() -> None:
    with pytest.raises(UsageError, match="an empty subject is nobody"):
        Orchestrator().forget("")


def test_two_stores_of_one_name_are_an_error() -> None:
    orchestrator, cache = Orchestrator(), Cache()
    orchestrator.keeps("cache", cache)
    orchestrator.keeps("cache", cache)  # the same one again is no other
    with pytest.raises(UsageError, match="there is a store named 'cache' already"):
        orchestrator.keeps("cache", Cache())


def test_the_audit_log_tells_of_it_and_not_of_whom(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    with Orchestrator({"audit": {"path": str(log)}}, app=[]) as orchestrator:
        orchestrator.keeps("cache", Cache(a=CANARY, b="bob"))
        orchestrator.forget(CANARY)
    entry = next(e for e in map(json.loads, log.read_text().splitlines()) if e["kind"] == "erased")
    assert (entry["store"], entry["count"]) == ("cache", 1)
    assert len(entry["digest"]) == 64
    assert CANARY not in log.read_text()
