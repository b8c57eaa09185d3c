"""The peers: what each can do, how it is started in its own environment, and how it is asked."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from orchestrator.bench.clients.http import KEYED, LISTED, HttpClient
from orchestrator.bench.clients.inference import InferenceClient
from orchestrator.bench.parties import Ability, Party
from orchestrator.bench.processes import running
from orchestrator.bench.suites.suite import PeerOpenings
from orchestrator.core.errors import UsageError
from orchestrator.core.ports import free_port

Batching = Literal["on", "off"]
PeerClient = HttpClient | InferenceClient

BATCHING, TUNED = "{}, batching", "{}, tuned by hand"

ENVIRONMENTS = Path(__file__).parent / "environments"
_SERVERS = Path(__file__).parent / "servers"


@dataclass(frozen=True, slots=True)
class Peer:
    """A serving system that the library is compared with.

    Attributes:
        name: Its name here: of its environment, its list of packages and its server.
        package: What to import to use it.
        client: Makes the client for a port.
        can: What it can do, besides the model.
        patience: How many seconds it has to start.
    """

    name: str
    package: str
    client: Callable[[int], PeerClient]
    can: frozenset[Ability]
    patience: float = 60.0

    def openings(self, environments: Path, model: Path) -> PeerOpenings:
        """Return how to start it.

        Args:
            environments: Where the peers' environments are.
            model: The folder of the model.
        """
        python = environments / self.name / "bin" / "python"
        embeddings = [
            (name, partial(self._started, name, python, model, batching))
            for name, batching in self._forms()
        ]
        calls = partial(self._started, self.name, python, None, "on")
        return PeerOpenings(self.name, calls, embeddings, self.can, python, self.package)

    def _forms(self) -> Iterable[tuple[str, Batching]]:
        yield BATCHING.format(self.name), "on"
        yield TUNED.format(self.name), "off"

    @asynccontextmanager
    async def _started(
        self, name: str, python: Path, model: Path | None, batching: Batching
    ) -> AsyncIterator[Party]:
        port = free_port()
        command: list[str | Path] = [
            python,
            _SERVERS / f"{self.name}_server.py",
            "--port",
            str(port),
        ]
        command += ["--model", model, "--batching", batching] if model else []
        probe = "embed" if model else "echo"
        can = frozenset[Ability]({"embed"}) if model else self.can
        async with aclosing(self.client(port)) as client:
            ready = partial(client.ready, f"/{probe}" if isinstance(client, HttpClient) else probe)
            async with running(command, ready, self.patience) as server:
                yield Party(name, client, can, server, sleeps=True)


def _at(port: int) -> str:
    return f"127.0.0.1:{port}"


_RAW: frozenset[Ability] = frozenset({"echo", "tensor", "stream"})
_ARRAYS: frozenset[Ability] = frozenset({"echo", "tensor"})
_TEXTS: frozenset[Ability] = frozenset({"echo", "stream"})

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("fastapi", "fastapi, uvicorn", HttpClient, _RAW),
        Peer("mosec", "mosec", HttpClient, _ARRAYS),
        Peer("litserve", "litserve", partial(HttpClient, encoding=KEYED), _TEXTS),
        Peer("triton", "pytriton.triton", lambda port: InferenceClient(_at(port)), _ARRAYS),
        Peer(
            "mlserver",
            "mlserver",
            lambda port: InferenceClient(_at(port), padded=2048, tensor="echo"),
            _ARRAYS,
        ),
        Peer("bentoml", "bentoml", partial(HttpClient, encoding=LISTED), _TEXTS),
        Peer("ray", "ray.serve", HttpClient, _RAW, patience=120.0),
    )
}


def find_peers(names: str, environments: Path, model: Path) -> list[PeerOpenings]:
    """Return how to start peers.

    Args:
        names: "all", "none", or names with commas between them.
        environments: Where their environments are.
        model: The folder of the model that those serve that can.

    Raises:
        UsageError: There is no peer of a name.
    """
    wanted = {"all": list(PEERS), "none": []}.get(names, names.split(","))
    if unknown := [name for name in wanted if name not in PEERS]:
        raise UsageError(
            f"there is no peer {unknown[0]!r}: take all, none, or from {', '.join(PEERS)}"
        )
    return [PEERS[name].openings(environments, model) for name in dict.fromkeys(wanted)]
