"""Ray Serve behind its own HTTP proxy."""

import os
import time
from collections.abc import Iterator

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray import serve
from shared import CHUNK, CORES, MAX_BATCH, MAX_WAIT_SECONDS, Embedder, arguments
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

given = arguments()
QUEUE = 512


@serve.deployment(max_ongoing_requests=QUEUE)
class Calls:
    async def __call__(self, request: Request) -> Response:
        body = await request.body()
        if request.url.path != "/stream":
            return Response(body)

        def chunks() -> Iterator[str]:
            for _ in range(int(body)):
                yield CHUNK

        return StreamingResponse(chunks())


@serve.deployment(max_ongoing_requests=QUEUE)
class Batched:
    def __init__(self, folder: str) -> None:
        self.model = Embedder(folder, CORES)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=MAX_WAIT_SECONDS)
    async def embed(self, texts: list[str]) -> list[bytes]:
        return [vector.tobytes() for vector in self.model.embed(texts)]

    async def __call__(self, request: Request) -> Response:
        return Response(await self.embed((await request.body()).decode()))


@serve.deployment(max_ongoing_requests=QUEUE, num_replicas=2, ray_actor_options={"num_cpus": 0.5})
class Single:
    def __init__(self, folder: str) -> None:
        self.model = Embedder(folder, 1)

    async def __call__(self, request: Request) -> Response:
        text = (await request.body()).decode()
        return Response(self.model.embed([text]).tobytes())


def application() -> serve.Application:
    if given.model is None:
        return Calls.bind()
    kind = Batched if given.batching == "on" else Single
    return kind.bind(str(given.model))


if __name__ == "__main__":
    # Its workers import `shared` too, wherever Ray starts them.
    here = os.path.dirname(os.path.abspath(__file__))
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": here}},
    )
    http = {"host": "127.0.0.1", "port": given.port}
    serve.start(http_options=http, logging_config={"enable_access_log": False})
    serve.run(application(), route_prefix="/")
    while True:
        time.sleep(60)
