from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from orchestrator.core.errors import AccessDenied, EndpointUnavailable, WireError
from orchestrator.testing import free_port, listening, running_node
from orchestrator.wire.attach import AttachServer
from orchestrator.wire.attached import AttachedNode
from orchestrator.wire.roster import attached_nodes

if TYPE_CHECKING:
    from tests.conftest import Certificates


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def everywhere(port: int) -> AsyncIterator[None]:
    server = AttachServer(f"0.0.0.0:{port}", None, {"edge-7": AttachedNode("edge-7", "here")})
    await server.start()
    yield
    await server.aclose()


async def test_an_address_of_all_interfaces_is_asked_on_this_machine(
    everywhere: None, port: int
) -> None:
    assert await attached_nodes(f"0.0.0.0:{port}", None) == {"edge-7": None}


async def test_nobody_there_says_where_and_what_to_look_at(port: int) -> None:
    with pytest.raises(EndpointUnavailable, match=f"127.0.0.1:{port}: is the orchestrator running"):
        await attached_nodes(f"127.0.0.1:{port}", None)


async def test_a_node_is_no_orchestrator() -> None:
    async with running_node("edge") as node, listening(node) as address:
        with pytest.raises(WireError, match="is no Isthmus node of this version"):
            await attached_nodes(address, None)


async def test_with_tls_the_own_certificate_opens_and_another_does_not(
    certificates: "Certificates", port: int
) -> None:
    ours, address = certificates.node, f"127.0.0.1:{port}"
    server = AttachServer(address, ours, {"edge-7": AttachedNode("edge-7", "here")})
    await server.start()
    try:
        assert await attached_nodes(address, ours) == {"edge-7": None}
        assert await attached_nodes(address, ours, "localhost") == {"edge-7": None}
        with pytest.raises(AccessDenied):
            await attached_nodes(address, certificates.caller)
        with pytest.raises(EndpointUnavailable):
            await attached_nodes(address, ours, "other.example")
    finally:
        await server.aclose()
