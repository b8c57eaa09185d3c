import asyncio

import pytest

from orchestrator.core.errors import EndpointUnavailable
from orchestrator.decorators import edge_service
from orchestrator.testing import free_port, listening, running_node
from orchestrator.wire.connection import (
    CLIENT_OPTIONS,
    LISTEN_OPTIONS,
    NODE_OPTIONS,
    Connection,
)
from orchestrator.wire.security import TlsFiles, client_credentials


@edge_service
def echo(text: str) -> str:
    return text


@pytest.mark.parametrize("options", [CLIENT_OPTIONS, LISTEN_OPTIONS, NODE_OPTIONS])
def test_no_option_is_given_twice(options: list[tuple[str, object]]) -> None:
    names = [name for name, _ in options]
    assert len(set(names)) == len(names)


async def test_a_connection_is_ready_once_and_stays_the_same() -> None:
    async with running_node("edge", echo) as node, listening(node) as address:
        connection = Connection(address, None, CLIENT_OPTIONS)
        assert await connection.ready(5) is await connection.ready(5)
        await connection.aclose()
        with pytest.raises(EndpointUnavailable, match="is closed"):
            await connection.ready(5)


@pytest.mark.parametrize(("tls", "said"), [(False, "uses plaintext"), (True, "uses TLS")])
async def test_what_is_not_there_is_named_with_the_address_and_the_cure(
    tls: bool, said: str
) -> None:
    credentials = client_credentials(TlsFiles()) if tls else None
    address = f"127.0.0.1:{free_port()}"
    connection = Connection(address, credentials, CLIENT_OPTIONS, "orchestrator")
    with pytest.raises(EndpointUnavailable, match=f"no connection to {address}: is the orch") as no:
        await connection.ready(0.2)
    assert said in str(no.value)
    assert not no.value.sent
    await connection.aclose()


async def test_who_waits_and_leaves_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    connection = Connection(f"127.0.0.1:{free_port()}", None, CLIENT_OPTIONS)
    waiting = asyncio.create_task(connection.ready(20))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await connection.aclose()
    await asyncio.sleep(0.1)
    assert asyncio.all_tasks() == before
