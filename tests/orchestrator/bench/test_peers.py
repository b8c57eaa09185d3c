import sys
from pathlib import Path

import pytest

from orchestrator.bench import peers
from orchestrator.bench.clients.http import HttpClient
from orchestrator.bench.peers import ENVIRONMENTS, PEERS, Peer, find_peers
from orchestrator.bench.turns import CannotRunError
from orchestrator.core.errors import UsageError

SERVER = """
import argparse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--model", default="none")
parser.add_argument("--batching", default="on")
given = parser.parse_args()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/embed":
            body = f"{given.model} {given.batching}".ljust(100).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()
"""


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """A peer with a server of its own, whose environment is this one."""
    (tmp_path / "stand_in_server.py").write_text(SERVER)
    (tmp_path / "stand_in/bin").mkdir(parents=True)
    (tmp_path / "stand_in/bin/python").symlink_to(sys.executable)
    monkeypatch.setattr(peers, "_SERVERS", tmp_path)
    return Peer("stand_in", "http.server", HttpClient, frozenset({"echo"}))


async def test_a_peer_is_started_asked_and_ended(peer: Peer, tmp_path: Path) -> None:
    openings = peer.openings(tmp_path, tmp_path / "model")
    async with openings.calls() as party:
        assert await party.client.echo("a text") == "a text"
        assert (party.name, set(party.can), party.sleeps) == ("stand_in", {"echo"}, True)


async def test_a_peer_serves_the_model_with_its_batching_and_without(
    peer: Peer, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    said = {}
    for name, opening in peer.openings(tmp_path, model).embeddings:
        async with opening() as party:
            assert party.name == name
            said[name] = bytes((await party.client.embed("a text")).tobytes()).decode().strip()
    assert said == {
        "stand_in, batching": f"{model} on",
        "stand_in, tuned by hand": f"{model} off",
    }


@pytest.mark.parametrize("name", PEERS)
async def test_a_peer_without_its_environment_says_so(name: str, tmp_path: Path) -> None:
    (openings,) = find_peers(name, tmp_path, tmp_path)
    with pytest.raises(CannotRunError, match=rf"there is no .*/{name}/bin/python: `make bench`"):
        async with openings.calls():
            pytest.fail("it began")


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_has_a_server_and_exact_versions(name: str) -> None:
    assert (peers._SERVERS / f"{name}_server.py").is_file()
    pins = (ENVIRONMENTS / f"{name}.txt").read_text().split()
    assert all(pin.count("==") == 1 for pin in pins)
    assert {pin.partition("==")[0] for pin in pins} >= {"numpy", "onnxruntime", "tokenizers"}


def test_peers_are_chosen_by_name(tmp_path: Path) -> None:
    def names(asked: str) -> list[str]:
        return [found.name for found in find_peers(asked, tmp_path, tmp_path)]

    assert names("all") == list(PEERS)
    assert names("none") == []
    assert names("ray,mosec,ray") == ["ray", "mosec"]
    with pytest.raises(UsageError, match="no peer 'vllm': take all, none, or from fastapi"):
        names("fastapi,vllm")
