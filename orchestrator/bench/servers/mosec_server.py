"""Mosec: a Rust front, Python workers behind it."""

import sys

import numpy as np
from shared import MAX_BATCH, MAX_WAIT_SECONDS, arguments, embedder_for

given = arguments()
# Mosec reads the command line itself, and takes three seconds and a few megabytes by default.
sys.argv[1:] = ["--address", "127.0.0.1", "--port", str(given.port), "--timeout", "120000"]
sys.argv += ["--max-request-size", str(2**26), "--log-level", "warning"]

from mosec import Runtime, Server, Worker  # noqa: E402


class Raw(Worker):
    def deserialize(self, data: bytes) -> bytes:
        return data

    def serialize(self, data: bytes) -> bytes:
        return data


class Echo(Raw):
    def forward(self, data: bytes) -> bytes:
        return data


class Tensor(Raw):
    def forward(self, data: bytes) -> bytes:
        return np.frombuffer(data, np.float32).tobytes()


class Embed(Raw):
    def __init__(self) -> None:
        super().__init__()
        self.model = embedder_for(given)

    def forward(self, data: list[bytes] | bytes) -> list[bytes] | bytes:
        if not isinstance(data, list):
            return self.model.embed([bytes(data).decode()]).tobytes()
        vectors = self.model.embed([bytes(text).decode() for text in data])
        return [vector.tobytes() for vector in vectors]


if __name__ == "__main__":
    server = Server()
    if given.model is None:
        server.register_runtime({"/echo": [Runtime(Echo)], "/tensor": [Runtime(Tensor)]})
    elif given.batching == "on":
        wait = int(MAX_WAIT_SECONDS * 1000)
        batched = Runtime(Embed, max_batch_size=MAX_BATCH, max_wait_time=wait, timeout=120)
        server.register_runtime({"/embed": [batched]})
    else:
        server.register_runtime({"/embed": [Runtime(Embed, num=2, timeout=120)]})
    server.run()
