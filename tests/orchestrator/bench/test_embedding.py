from pathlib import Path

import numpy as np

from orchestrator import Orchestrator
from orchestrator.bench import embedding


async def test_the_service_answers_a_vector_of_length_one_a_text(minilm_store: Path) -> None:
    settings = {"models": {"store": str(minilm_store)}}
    async with Orchestrator(settings, app=[embedding.embed]):
        vectors = await embedding.embed(["one text", "another"])
    assert vectors.shape == (2, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
