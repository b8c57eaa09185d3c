import numpy as np

from orchestrator.bench import services
from orchestrator.bench.parties import Client


async def test_the_services_give_back_what_they_are_sent() -> None:
    assert await services.echo.local("a text") == "a text"
    array = np.arange(6, dtype=np.float32)
    assert np.array_equal(await services.tensor.local(array), array)


async def test_the_stream_has_as_many_chunks_as_asked_for_of_20_bytes() -> None:
    chunks = [chunk async for chunk in services.stream.local(3)]
    assert [len(chunk) for chunk in chunks] == [20, 20, 20]


def test_they_are_named_as_the_clients_ask_for_them() -> None:
    asked = {"echo", "tensor", "stream"}
    assert asked <= vars(Client).keys()
    assert asked <= vars(services).keys()
