import pytest

from orchestrator.bench.clients.session import SessionClient
from orchestrator.core.errors import EndpointUnavailable
from orchestrator.core.ports import free_port


async def test_a_client_is_not_ready_while_nobody_listens() -> None:
    client = SessionClient(f"127.0.0.1:{free_port()}")
    assert not await client.ready()
    with pytest.raises(EndpointUnavailable, match="not open"):
        await client.echo("a text")
    await client.aclose()
