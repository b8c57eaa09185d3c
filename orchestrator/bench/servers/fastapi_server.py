"""FastAPI with uvicorn. It has no batcher of its own: the one here is the usual queue of tasks."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from shared import CHUNK, MAX_BATCH, MAX_WAIT_SECONDS, arguments, embedder_for

app = FastAPI()
given = arguments()
model = embedder_for(given) if given.model else None
threads = ThreadPoolExecutor(1 if given.batching == "on" else 2)
waiting: asyncio.Queue[tuple[str, asyncio.Future[np.ndarray]]] = asyncio.Queue()
background: set[asyncio.Task[None]] = set()


@app.get("/ready")
async def ready() -> bool:
    return True


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body())


@app.post("/tensor")
async def tensor(request: Request) -> Response:
    return Response(np.frombuffer(await request.body(), np.float32).tobytes())


@app.post("/stream")
async def stream(request: Request) -> StreamingResponse:
    count = int(await request.body())

    async def chunks() -> AsyncIterator[str]:
        for _ in range(count):
            yield CHUNK

    return StreamingResponse(chunks())


@app.post("/embed")
async def embed(request: Request) -> Response:
    text = (await request.body()).decode()
    loop = asyncio.get_running_loop()
    if given.batching == "off":
        vectors = await loop.run_in_executor(threads, model.embed, [text])
        return Response(vectors.tobytes())
    if not background:
        background.add(asyncio.create_task(batch_for_ever()))
    answer: asyncio.Future[np.ndarray] = loop.create_future()
    waiting.put_nowait((text, answer))
    return Response((await answer).tobytes())


async def batch_for_ever() -> None:
    loop = asyncio.get_running_loop()
    while True:
        batch = [await waiting.get()]
        due = loop.time() + MAX_WAIT_SECONDS
        while len(batch) < MAX_BATCH and (left := due - loop.time()) > 0:
            try:
                batch.append(await asyncio.wait_for(waiting.get(), left))
            except TimeoutError:
                break
        texts = [text for text, _ in batch]
        vectors = await loop.run_in_executor(threads, model.embed, texts)
        for (_, answer), vector in zip(batch, vectors, strict=True):
            answer.set_result(vector)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=given.port, access_log=False, log_level="warning")
