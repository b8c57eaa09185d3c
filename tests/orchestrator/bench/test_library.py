import numpy as np
import pytest

from orchestrator.bench import library
from orchestrator.bench.turns import CannotRunError


@pytest.mark.parametrize("opening", [library.over_session, library.in_process])
async def test_a_user_s_calls_streams_and_arrays_come_back(opening) -> None:  # type: ignore[no-untyped-def]
    array = np.arange(8, dtype=np.float32)
    async with opening() as party:
        assert await party.client.echo("a text") == "a text"
        assert np.array_equal(await party.client.tensor(array), array)
        assert len([chunk async for chunk in party.client.stream(5)]) == 5
        assert party.can == {"echo", "tensor", "stream"}
        assert (party.server is None) == (party.name == library.IN_PROCESS)


async def test_single_rpcs_stream_from_the_same_daemon() -> None:
    async with library.over_single_rpcs() as party:
        assert len([chunk async for chunk in party.client.stream(5)]) == 5
        assert party.server is not None


async def test_a_unix_socket_is_used_or_it_is_said_why_not() -> None:
    try:
        async with library.over_unix_socket() as party:
            assert await party.client.echo("a text") == "a text"
            assert party.address.startswith("unix:")
    except CannotRunError as error:
        assert "ended with 2" in str(error)


async def test_a_daemon_without_its_app_is_told() -> None:
    with pytest.raises(ModuleNotFoundError):
        async with library.over_session(app="nowhere.at_all"):
            pytest.fail("it began")
