import asyncio
from collections.abc import Callable

import pytest

from orchestrator.core.errors import WireError
from orchestrator.serving import sessionsocket
from orchestrator.serving.sessionsocket import SessionSocket
from orchestrator.wire.socketstream import PREFIX, SocketStream, dial


async def repeat(stream: SocketStream) -> None:
    """Give every message back, until the caller leaves."""
    while (message := await stream.read()) is not None:
        if message == b"nonsense":
            raise WireError("it makes no sense")
        await stream.write(message)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


async def test_each_connection_is_a_session_of_its_own() -> None:
    node = SessionSocket(repeat)
    await node.start()
    assert node.name.startswith(PREFIX)
    first, second = await dial(node.name), await dial(node.name)
    await first.write(b"one")
    await second.write(b"two")
    assert [await first.read(), await second.read()] == [b"one", b"two"]
    first.cancel()
    await second.write(b"still there")
    assert await second.read() == b"still there"
    second.cancel()
    await until(lambda: not node._tasks)
    await node.stop(0)


async def test_no_two_sockets_have_one_name() -> None:
    nodes = [SessionSocket(repeat) for _ in range(20)]
    for node in nodes:
        await node.start()
    assert len({node.name for node in nodes}) == 20
    for node in nodes:
        await node.stop(0)


async def test_a_caller_that_makes_no_sense_loses_its_session_and_others_do_not() -> None:
    node = SessionSocket(repeat)
    await node.start()
    bad, good = await dial(node.name), await dial(node.name)
    await bad.write(b"nonsense")
    assert await asyncio.wait_for(bad.read(), 20) is None
    await good.write(b"x")
    assert await good.read() == b"x"
    good.cancel()
    await node.stop(1)


async def test_another_users_process_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[SocketStream] = []

    async def serve(stream: SocketStream) -> None:
        served.append(stream)

    node = SessionSocket(serve)
    await node.start()
    (await dial(node.name)).cancel()
    await until(lambda: len(served) == 1)  # the positive control
    monkeypatch.setattr(sessionsocket, "is_trusted", lambda connection: False)
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(dial(node.name), 20)
    assert len(served) == 1
    await node.stop(1)


async def test_what_a_session_has_said_arrives_before_its_end() -> None:
    async def say_much(stream: SocketStream) -> None:
        for _ in range(10):
            await stream.write(bytes(300_000))

    node = SessionSocket(say_much)
    await node.start()
    stream = await dial(node.name)
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(node.stop(20))
    heard = 0
    while (message := await stream.read()) is not None:
        heard += len(message)
    assert heard == 3_000_000
    await asyncio.wait_for(stopping, 20)


async def test_a_socket_that_stops_takes_nobody_and_cuts_who_stays() -> None:
    node = SessionSocket(repeat)
    await node.start()
    name, stream = node.name, await dial(node.name)
    await asyncio.wait_for(node.stop(0.05), 20)
    assert await asyncio.wait_for(stream.read(), 20) is None
    with pytest.raises(ConnectionRefusedError):
        await dial(name)
    assert node.name == ""
