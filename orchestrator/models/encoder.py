"""The torch form of a text embedding: a transformer, pooled over its tokens."""

from pathlib import Path
from typing import Any


def sentence_encoder(folder: Path, pooling: str, normalise: bool) -> Any:
    """Return a torch module from (input_ids, attention_mask) to one vector a text.

    Args:
        folder: Holds config.json and model.safetensors.
        pooling: "mean" over the tokens that are no padding, or "cls" for the first token
            (Reimers and Gurevych, Sentence-BERT, 2019).
        normalise: Whether vectors get length one.
    """
    import torch
    from transformers import AutoModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()

    class SentenceEncoder(torch.nn.Module):
        """Tokens to a vector."""

        def __init__(self) -> None:
            super().__init__()
            self.body = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            """Return vectors of shape (batch, dimensions)."""
            states = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            if pooling == "cls":
                vectors = states[:, 0]
            else:
                weights = attention_mask.unsqueeze(-1).to(states.dtype)
                vectors = (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(vectors, dim=-1) if normalise else vectors

    return SentenceEncoder().eval()
