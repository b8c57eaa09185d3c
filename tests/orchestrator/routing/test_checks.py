from collections.abc import Callable

import pytest

from orchestrator.core.errors import DefinitionError
from orchestrator.core.labels import Labelled, Secret, Sensitive
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.routing.checks import check_clearances
from orchestrator.routing.connect import connect
from orchestrator.routing.endpoint import Endpoint
from orchestrator.settings.nodes import NodeEntry
from policies.facts import Clearance, Level

MakeEndpoint = Callable[..., Endpoint]


@pytest.fixture
def fleet(make_endpoint: MakeEndpoint) -> list[Endpoint]:
    """An edge that may see all, and a cloud that may see what is internal."""
    return [
        make_endpoint("edge-1", "edge", clearance=Clearance(Level.SECRET)),
        make_endpoint("cloud-1", "cloud", clearance=Clearance(Level.INTERNAL)),
    ]


def test_a_service_is_fine_where_one_of_its_nodes_is_cleared(fleet: list[Endpoint]) -> None:
    @edge_service
    def here(text: Secret[str]) -> Secret[str]:
        return text

    @cloud_service(fallback="edge")
    def either(text: Sensitive[str]) -> Sensitive[str]:
        return text

    @cloud_service
    def public(text: str) -> str:
        return text

    @cloud_service
    def as_it_comes(text: Labelled[str]) -> Labelled[str]:
        return text

    check_clearances([s.declaration for s in (here, either, public, as_it_comes)], fleet)


def test_one_that_no_node_of_its_tiers_is_cleared_for_is_refused_with_the_cure(
    fleet: list[Endpoint],
) -> None:
    @cloud_service(name="keep")
    def keep(text: Sensitive[str]) -> Sensitive[str]:
        return text

    with pytest.raises(DefinitionError) as caught:
        check_clearances([keep.declaration], fleet)
    said = str(caught.value)
    assert "keep takes sensitive data and runs on the cloud, where cloud-1 has internal" in said
    assert "edge-1" not in said
    assert said.endswith("raise a node's clearance in the settings")


@pytest.mark.parametrize(
    ("address", "clearance", "needs_tls"),
    [("10.0.0.1:1", "secret", True), ("127.0.0.1:1", "public", False)],
)
def test_plaintext_beyond_this_machine_is_told_that_tls_is_the_cure(
    address: str, clearance: str, needs_tls: bool
) -> None:
    @cloud_service
    def keep(text: Sensitive[str]) -> Sensitive[str]:
        return text

    node = {"name": "far", "tier": "cloud", "address": address, "insecure": True}
    entry = NodeEntry.model_validate({**node, "clearance": clearance})
    with pytest.raises(DefinitionError, match="where far has public") as caught:
        check_clearances([keep.declaration], [connect(entry, 2**20)])
    said = "and give it TLS: plaintext beyond this machine is public, whatever they say"
    assert (said in str(caught.value)) == needs_tls


def test_a_service_whose_tier_has_no_node_yet_is_not_judged(fleet: list[Endpoint]) -> None:
    @cloud_service
    def keep(text: Sensitive[str]) -> Sensitive[str]:
        return text

    check_clearances([keep.declaration], fleet[:1])


def test_a_node_that_is_down_counts_with_the_clearance_it_was_given(
    fleet: list[Endpoint],
) -> None:
    @edge_service
    def keep(text: Sensitive[str]) -> Sensitive[str]:
        return text

    fleet[0].saw_down("it is gone")
    check_clearances([keep.declaration], fleet)


def test_a_service_that_pseudonymises_needs_a_cloud_for_internal_data_only(
    fleet: list[Endpoint], make_endpoint: MakeEndpoint
) -> None:
    @cloud_service(privacy="pseudonymise")
    def ask(text: Sensitive[str]) -> Sensitive[str]:
        return text

    check_clearances([ask.declaration], fleet)
    public = make_endpoint("cloud-1", "cloud", clearance=Clearance())
    with pytest.raises(DefinitionError, match="where cloud-1 has public"):
        check_clearances([ask.declaration], [fleet[0], public])


def test_a_service_that_stays_needs_a_cleared_edge(fleet: list[Endpoint]) -> None:
    @cloud_service(privacy="local")
    def stay(text: Sensitive[str]) -> Sensitive[str]:
        return text

    check_clearances([stay.declaration], fleet)
    with pytest.raises(DefinitionError, match="cloud-1 has internal"):
        check_clearances([stay.declaration], fleet[1:])
