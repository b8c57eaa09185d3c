"""The older of two versions of one service."""

from orchestrator import edge_service


@edge_service
def price(grams: int) -> int:
    return 2 * grams


@edge_service
def tax(amount: int) -> int:
    return amount // 5
