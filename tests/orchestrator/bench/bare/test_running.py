from orchestrator.bench.bare.running import AIO, GATHERING, SESSION, SYNC, openings


def test_each_ability_has_those_that_have_it() -> None:
    assert [name for name, _ in openings("echo")] == [AIO, SYNC, GATHERING, SESSION]
    assert [name for name, _ in openings("tensor")] == [AIO, SYNC]
    assert [name for name, _ in openings("stream")] == [AIO, SYNC]
    assert openings("embed") == []


async def test_a_bare_server_is_a_process_of_its_own() -> None:
    async with dict(openings("echo"))[SYNC]() as party:
        assert party.server is not None
        assert party.server.pid > 0
        assert party.name == SYNC
