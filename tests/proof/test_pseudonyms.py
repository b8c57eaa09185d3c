"""The small form; `make proof PART=pseudonyms` is the full one."""

import pytest

from benchmarks.proofs.pseudonyms import EDITS, edited, prove, texts
from orchestrator.privacy.vault import Vault


async def test_every_text_comes_back_as_it_stood() -> None:
    outcome = await prove(count=2000)
    assert [check for check in outcome.checks if not check.holds] == []
    assert outcome.check("the positive control").holds
    assert outcome.figures["values"] > 2000


async def test_a_vault_that_mixes_values_up_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    value = Vault.value
    monkeypatch.setattr(Vault, "value", lambda self, found: (value(self, found) or "").lower())
    outcome = await prove(count=200)
    assert not outcome.check("come back exactly").holds
    assert not outcome.check("threads that share").holds


def test_the_same_seed_makes_the_same_texts() -> None:
    first, second = (list(texts(50, 7, ["EMAIL_7F3K9QXC"])) for _ in range(2))
    assert first == second
    assert sum(len(drawn.values) for drawn in first) > 50


def test_an_edit_changes_the_token_or_what_is_around_it() -> None:
    token = "EMAIL_7F3K9QXC"
    changed = [edit for edit in EDITS if token not in edited(edit, token, "a@b.com")[0]]
    assert len(changed) == 5
    assert all("a@b.com" in edited(edit, token, "a@b.com")[1] for edit in EDITS)
