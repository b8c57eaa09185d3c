"""BentoML: served by its own command, for it makes its workers itself; everything is JSON."""

import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import bentoml
from shared import CHUNK, MAX_BATCH, arguments, embedder_for

given = arguments()
batched = given.batching == "on"

TRAFFIC = {"timeout": 120, "max_concurrency": 512}
QUIET = {"access": {"enabled": False}}


@bentoml.service(workers=1, traffic=TRAFFIC, logging=QUIET)
class Calls:
    @bentoml.api
    async def echo(self, text: str) -> str:
        return text

    @bentoml.api
    async def stream(self, text: str) -> AsyncGenerator[str, None]:
        for _ in range(int(text)):
            yield CHUNK


@bentoml.service(workers=1 if batched else 2, traffic=TRAFFIC, logging=QUIET)
class Embed:
    def __init__(self) -> None:
        self.model = embedder_for(given)

    @bentoml.api(batchable=batched, max_batch_size=MAX_BATCH, max_latency_ms=60_000)
    def embed(self, text: list[str]) -> list[list[float]]:
        return self.model.embed(text).tolist()


if __name__ == "__main__":
    os.chdir(Path(__file__).parent)
    name = "Embed" if given.model else "Calls"
    command = ["serve", f"bentoml_server:{name}", "--host", "127.0.0.1", "--port", str(given.port)]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *command])  # noqa: S606
