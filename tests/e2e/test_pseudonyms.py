"""Real daemons get tokens, and the caller gets his values back."""

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import Orchestrator, Secret, Sensitive
from orchestrator.core.errors import PrivacyRefused, ServiceFailed
from orchestrator.testing import free_port

if TYPE_CHECKING:
    from tests.e2e.conftest import Daemon, Start

Pair = tuple["Daemon", "Daemon"]

ADA = "ada.lovelace@example.com"
CARD = "4242 4242 4242 4242"
LETTER = f"{ADA} paid with {CARD}"


@pytest.fixture(scope="module")
def counsel(apps: None) -> ModuleType:
    return import_module("counsel")


@pytest.fixture(scope="module")
def pair(start_shared: "Start", tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """An edge node whose app names an orchestrator that knows both nodes."""
    folder = tmp_path_factory.mktemp("counsel")
    cloud = start_shared("cloud", "--log-level", "debug", app="counsel")
    # JSON is YAML.
    port = free_port()
    itself = {**cloud.entry(), "name": "edge-1", "tier": "edge", "clearance": "secret"}
    nodes = [cloud.entry(), {**itself, "address": f"127.0.0.1:{port}"}]
    (folder / "isthmus.yaml").write_text(json.dumps({"nodes": nodes}))
    edge = start_shared("edge", app="counsel:office", folder=folder, port=port)
    return edge, cloud


@pytest.fixture
def settings(pair: Pair) -> dict[str, Any]:
    return {"nodes": [daemon.entry() for daemon in pair]}


async def test_the_cloud_never_sees_what_the_caller_gets_back(
    pair: Pair, settings: dict[str, Any], counsel: ModuleType
) -> None:
    async with Orchestrator(settings, app=counsel):
        result = await counsel.answer.aio.call(Sensitive(LETTER, "pii"))
    assert (result.node, result.label.level.name) == ("cloud-1", "INTERNAL")
    assert result.value.label == Sensitive("", "pii").label
    answer = result.value.reveal("a test")
    assert answer["said"] == f"Dear {LETTER}"
    assert answer["wrapped"] == f"**{LETTER}"
    got = bytes.fromhex(answer["got"]).decode()
    assert got.startswith("EMAIL_")
    assert " paid with CARD_" in got
    assert "lovelace" not in got + pair[1].output
    assert "4242 " not in got + pair[1].output


async def test_the_search_would_find_what_is_sent_in_plain(
    settings: dict[str, Any], counsel: ModuleType
) -> None:
    async with Orchestrator(settings, app=[counsel.show]):
        assert "lovelace" in bytes.fromhex(await counsel.show.aio(LETTER)).decode()


async def test_a_stream_comes_back_in_pieces(settings: dict[str, Any], counsel: ModuleType) -> None:
    async with Orchestrator(settings, app=[counsel.spell]):
        stream = counsel.spell.aio(Sensitive(LETTER))
        pieces = [piece.reveal("a test") async for piece in stream]
    assert "".join(pieces) == LETTER
    assert len(pieces) > 20
    assert stream.result.node == "cloud-1"


async def test_a_body_that_fails_tells_nothing(
    pair: Pair, settings: dict[str, Any], counsel: ModuleType
) -> None:
    async with Orchestrator(settings, app=[counsel.fail]):
        with pytest.raises(ServiceFailed) as caught:
            await counsel.fail.aio(Sensitive(LETTER))
    assert "lovelace" not in f"{caught.value!r} {caught.value.__cause__!r} {pair[1].output}"


async def test_a_call_that_stays_runs_at_the_edge(
    pair: Pair, settings: dict[str, Any], counsel: ModuleType
) -> None:
    async with Orchestrator(settings, app=[counsel.stay]):
        result = await counsel.stay.aio.call(Sensitive(LETTER))
    assert result.node == "edge-1"
    assert result.value.reveal("a test") == pair[0].process.pid


async def test_a_body_on_labelled_data_asks_the_cloud_by_pseudonyms(
    pair: Pair, settings: dict[str, Any], counsel: ModuleType
) -> None:
    async with Orchestrator({"nodes": settings["nodes"][:1]}, app=[counsel.consult]):
        answer = await counsel.consult.aio(Sensitive(LETTER))
    assert answer.reveal("a test") == f"Dear {LETTER}"
    assert "lovelace" not in pair[1].output


async def test_what_a_body_has_opened_cannot_slip_out_beside_the_pseudonyms(
    pair: Pair, settings: dict[str, Any], counsel: ModuleType
) -> None:
    async with Orchestrator({"nodes": settings["nodes"][:1]}, app=[counsel.slip]):
        with pytest.raises(ServiceFailed, match="PrivacyRefused"):
            await counsel.slip.aio(Sensitive(LETTER))
    assert 'service="hint"' not in pair[1].page("/metrics")[1]


async def test_a_retry_has_pseudonyms_too(
    start: "Start", counsel: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    marker = tmp_path / "crash"
    marker.touch()
    monkeypatch.setenv("COUNSEL_CRASHES", str(marker))
    daemons = [start("cloud", app="counsel") for _ in range(2)]
    nodes = [daemon.entry(name=f"cloud-{number}") for number, daemon in enumerate(daemons)]
    async with Orchestrator({"nodes": nodes}, app=[counsel.survive]):
        result = await counsel.survive.aio.call(Sensitive(LETTER))
    assert len(result.attempts) == 2
    assert result.value.reveal("a test") == LETTER
    assert not marker.exists()


async def test_a_secret_is_refused(settings: dict[str, Any], counsel: ModuleType) -> None:
    async with Orchestrator(settings, app=[counsel.answer]):
        with pytest.raises(PrivacyRefused, match="the value carries the label secret"):
            await counsel.answer.aio(Secret(LETTER))
