from dataclasses import replace

from orchestrator.core.report import NodeReport
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.testing import running_node
from policies.facts import Clearance, Level


@edge_service(overflow="cloud")
def double(x: int) -> int:
    return 2 * x


@cloud_service
def upload(x: int) -> None: ...


async def test_a_report_names_what_is_served_as_callers_know_it() -> None:
    async with running_node("edge", double, upload) as node:
        [service] = node.report().services
    assert (service.name, service.version) == ("double", double.spec.version)
    assert service.signature == "(x: int) -> int"


def test_two_reports_of_one_state_are_equal_so_that_a_change_shows() -> None:
    report = NodeReport("edge-1", "edge", "ready", Clearance(Level.SECRET))
    assert report == replace(report)
    assert report != replace(report, state="draining")
