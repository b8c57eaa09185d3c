"""An app with a real model: MiniLM in its ONNX form at the edge, in its torch form in the cloud."""

import numpy as np
from numpy.typing import NDArray

from orchestrator import Sensitive, TextEmbedding, cloud_service

Vectors = NDArray[np.float32]

minilm = TextEmbedding("minilm")


@cloud_service(models=[minilm], overflow="edge", idempotent=True)
async def embed(texts: list[str]) -> Vectors:
    return await minilm.aio(texts)


@cloud_service(models=[minilm], fallback="edge", idempotent=True)
async def embed_private(texts: Sensitive[list[str]]) -> Sensitive[Vectors]:
    return texts.with_value(await minilm.aio(texts.value))
