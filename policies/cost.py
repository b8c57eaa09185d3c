"""Scorer: what the node's working time costs in money, turned into milliseconds."""

from policies.base import Scorer
from policies.facts import CallFacts, EndpointFacts

_MS_PER_HOUR = 3_600_000.0


class CostScorer(Scorer):
    """Cost: service time x the node's price, at the settings' exchange rate.

    Args:
        ms_per_dollar: How many milliseconds of waiting one dollar is worth.
    """

    name = "cost"
    steady = True

    def __init__(self, ms_per_dollar: float = 200.0) -> None:
        self.ms_per_dollar = ms_per_dollar

    def cost(self, call: CallFacts, endpoint: EndpointFacts) -> float:
        """Return the price of the call's service time, in milliseconds."""
        dollars = endpoint.service_ms / _MS_PER_HOUR * endpoint.dollars_per_hour
        return dollars * self.ms_per_dollar
