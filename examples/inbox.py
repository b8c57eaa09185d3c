"""The example of the README: redact at the edge, embed where it is best.

Run it embedded with `python examples/inbox.py`, or serve it with `edge-node --app inbox` and
`cloud-node --app inbox` in this folder and give the settings file: `python inbox.py isthmus.yaml`.
"""

import re
import sys

import numpy as np

from orchestrator import Orchestrator, Sensitive, TextEmbedding, cloud_service, edge_service

minilm = TextEmbedding("minilm")


@edge_service(declassifies=True)
def redact(text: Sensitive[str]) -> str:
    """Mask e-mail addresses; the raw text never leaves the edge."""
    return re.sub(r"\S+@\S+", "[EMAIL]", text.value)


@cloud_service(models=[minilm], overflow="edge", deadline="10s", idempotent=True)
async def embed(texts: list[str]) -> np.ndarray:
    """Turn texts into vectors, on the tier that answers first."""
    return await minilm.aio(texts)


def main() -> None:
    """Redact and embed one message, and say where that was done and why."""
    settings = sys.argv[1] if len(sys.argv) > 1 else None
    with Orchestrator(settings):
        clean = redact(Sensitive("Where is my parcel? Write to ada@example.org"))
        result = embed.sync.call([clean])
        print(clean)
        print(result.value.shape, "on the", result.tier)
        print(result.decision.explain())


if __name__ == "__main__":
    main()
