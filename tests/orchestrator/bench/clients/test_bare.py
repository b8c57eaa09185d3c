import pytest

from orchestrator.bench.clients.bare import BareClient, GatheringClient
from orchestrator.core.ports import free_port


@pytest.mark.parametrize("kind", [BareClient, GatheringClient])
async def test_a_client_is_not_ready_while_nobody_listens(
    kind: type[BareClient | GatheringClient],
) -> None:
    client = kind(f"127.0.0.1:{free_port()}")
    assert not await client.ready()
    await client.aclose()
