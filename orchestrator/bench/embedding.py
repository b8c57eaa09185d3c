"""The service whose batching is measured: MiniLM, one text a call or several."""

import numpy as np

from orchestrator.decorators import edge_service
from orchestrator.models.text import TextEmbedding

MODEL = "minilm"
minilm = TextEmbedding(MODEL)


@edge_service(models=[minilm], deadline="120s")
async def embed(texts: list[str]) -> np.ndarray:
    """Return one vector a text."""
    return await minilm.aio(texts)
