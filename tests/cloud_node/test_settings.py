from cloud_node.settings import CloudSettings
from edge_node.settings import EdgeSettings
from orchestrator.serving.settings import PREFIX
from orchestrator.sources import load
from policies.facts import Clearance, Level


def test_a_cloud_node_listens_at_its_own_port_and_takes_what_is_internal_at_most() -> None:
    settings = load(CloudSettings, PREFIX, None, {})
    ports = [node.binding() for node in (settings, EdgeSettings())]
    assert [binding and binding.port for binding in ports] == [50052, 50051]
    assert settings.options("cloud").clearance == Clearance(Level.INTERNAL)


def test_the_operator_may_raise_or_lower_its_clearance() -> None:
    settings = load(CloudSettings, PREFIX, None, {"clearance": "sensitive:phi"})
    assert settings.options("cloud").clearance == Clearance(Level.SENSITIVE, frozenset({"phi"}))
