import pytest

from policies.facts import CallFacts, Clearance, EndpointFacts, Label, Placement, Spread, Tier
from policies.tier import TierFilter


@pytest.mark.parametrize("home", ["edge", "cloud"])
@pytest.mark.parametrize("stands", ["edge", "cloud"])
@pytest.mark.parametrize("spread", ["home", "overflow", "fallback"])
def test_only_a_service_that_opened_itself_leaves_its_home(
    home: Tier, stands: Tier, spread: Spread
) -> None:
    call = CallFacts("embed", "v1", Label(), Placement(home, spread), 100, 1000.0)
    refused = TierFilter().refuse(call, EndpointFacts("node-1", stands, Clearance()))
    if home == stands or spread != "home":
        assert refused is None
    else:
        assert refused == f"the call stays on the {home}"
