"""The smallest service there is: it gives its text back."""

from orchestrator import edge_service


@edge_service
async def echo(text: str) -> str:
    """Return the text."""
    return text
