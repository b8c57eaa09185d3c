"""LitServe: it takes JSON and forms only, so everything here is JSON."""

from collections.abc import Iterator
from typing import Any

import litserve as ls
from shared import CHUNK, MAX_BATCH, MAX_WAIT_SECONDS, arguments, embedder_for

given = arguments()


class Echo(ls.LitAPI):
    def setup(self, device: str) -> None:
        pass

    def predict(self, request: dict[str, Any]) -> str:
        return request["text"]

    def encode_response(self, output: str) -> dict[str, str]:
        return {"text": output}


class Stream(ls.LitAPI):
    def setup(self, device: str) -> None:
        pass

    def predict(self, request: dict[str, Any]) -> Iterator[str]:
        for _ in range(int(request["text"])):
            yield CHUNK

    def encode_response(self, output: Iterator[str]) -> Any:  # of another type it makes a model
        yield from output


class Embed(ls.LitAPI):
    def setup(self, device: str) -> None:
        self.model = embedder_for(given)

    def decode_request(self, request: dict[str, Any]) -> str:
        return request["text"]

    def predict(self, texts: list[str] | str) -> Any:
        if isinstance(texts, str):
            return self.model.embed([texts])[0]
        return list(self.model.embed(texts))

    def encode_response(self, output: Any) -> dict[str, list[float]]:
        return {"vector": output.tolist()}


def apis() -> list[ls.LitAPI]:
    if given.model is None:
        return [Echo(api_path="/echo"), Stream(api_path="/stream", stream=True)]
    if given.batching == "off":
        return [Embed(api_path="/embed")]
    batched = {"max_batch_size": MAX_BATCH, "batch_timeout": MAX_WAIT_SECONDS}
    return [Embed(api_path="/embed", **batched)]


if __name__ == "__main__":
    workers = 2 if given.model and given.batching == "off" else 1
    server = ls.LitServer(apis(), accelerator="cpu", workers_per_device=workers, timeout=120)
    server.run(host="127.0.0.1", port=given.port, log_level="warning", generate_client_file=False)
