"""MLServer with runtimes of our own; it is asked by the Open Inference Protocol over gRPC."""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

WIDTH = 128
"""Its batcher takes rows of one shape only, so texts arrive as bytes padded to the longest."""


class Echo(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        array = NumpyCodec.decode_input(payload.inputs[0])
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("output", array)]
        )


class Embed(MLModel):
    async def load(self) -> bool:
        from shared import CORES, Embedder

        given = self.settings.parameters.extra
        self.model = Embedder(given["folder"], CORES if given["batching"] == "on" else 1)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.uint8)
        texts = [row.tobytes().rstrip(b"\0").decode() for row in rows]
        vectors = self.model.embed(texts)
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("output", vectors)]
        )


def write(folder: Path, name: str, settings: dict[str, object]) -> None:
    (folder / name).mkdir()
    (folder / name / "model-settings.json").write_text(json.dumps({"name": name, **settings}))


def repository(folder: Path) -> None:
    from shared import MAX_BATCH, MAX_WAIT_SECONDS, arguments

    given = arguments()
    workers = 2 if given.model and given.batching == "off" else 0
    ports = {"http_port": given.port + 1, "grpc_port": given.port, "metrics_port": given.port + 2}
    common = {"host": "127.0.0.1", "parallel_workers": workers, "grpc_max_message_length": 2**27}
    (folder / "settings.json").write_text(json.dumps({**ports, **common, "debug": False}))
    if given.model is None:
        write(folder, "echo", {"implementation": "mlserver_server.Echo"})
        return
    extra = {"folder": str(given.model), "batching": given.batching}
    batching = {"max_batch_size": MAX_BATCH, "max_batch_time": MAX_WAIT_SECONDS}
    settings = {"implementation": "mlserver_server.Embed", "parameters": {"extra": extra}}
    write(folder, "embed", {**settings, **(batching if given.batching == "on" else {})})


async def serve(folder: str) -> None:
    from mlserver.cli.serve import load_settings
    from mlserver.server import MLServer

    settings, models = await load_settings(folder)
    await MLServer(settings).start(models)


if __name__ == "__main__":
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = here  # its parallel workers are fresh interpreters
    sys.path.insert(0, here)
    with tempfile.TemporaryDirectory() as folder:
        repository(Path(folder))
        asyncio.run(serve(folder))
