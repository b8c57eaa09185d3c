"""The newer of two versions of one service: it takes fractions."""

from orchestrator import edge_service


@edge_service
def price(grams: float) -> float:
    return 2 * grams


@edge_service
def tax(amount: int) -> int:
    return amount // 4
