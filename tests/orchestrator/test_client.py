import asyncio
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from orchestrator.client import EdgeCloudOrchestrator, Orchestrator
from orchestrator.core.call import Call, Result
from orchestrator.core.errors import (
    CallError,
    DefinitionError,
    ModelUnavailable,
    NoRoute,
    OrchestratorError,
    PrivacyRefused,
    ServiceFailed,
    SettingsError,
    UsageError,
)
from orchestrator.core.labels import Labelled, Sensitive
from orchestrator.core.methods import method
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.models.text import TextEmbedding, Vectors
from orchestrator.settings.caller import Settings
from orchestrator.testing import free_port, fresh_catalogue, listening, running_node
from policies.facts import PUBLIC, Clearance, Level

Next = Callable[[Call], Awaitable[Result[Any]]]
AddModule = Callable[[str, str], str]

ECHO = """
from orchestrator.decorators import edge_service

@edge_service
def echo(text: str) -> str:
    return text
"""


@pytest.fixture
def add_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AddModule]:
    """Makes a module that can be imported by name during the test, and returns its name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def add(name: str, source: str) -> str:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        return name

    yield add
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {path.stem for path in tmp_path.iterdir()}:
            del sys.modules[name]


def listening_sockets() -> set[str]:
    """Return the inodes of the sockets on which this process listens."""
    listening = {
        line.split()[9]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    opened = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            opened.add(str(link.readlink()))
        except OSError:
            continue
    return {inode for inode in listening if f"socket:[{inode}]" in opened}


def private_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "isthmus"]


# ---- its life


def test_an_embedded_edge_and_cloud_take_calls_and_no_port_is_opened() -> None:
    @edge_service
    def shout(text: str) -> str:
        return text.upper()

    @cloud_service
    async def whisper(text: str) -> str:
        return text.lower()

    before = listening_sockets()
    with Orchestrator() as orchestrator:
        assert shout("Hi") == "HI"
        assert whisper.sync.call("Hi").tier == "cloud"
        assert orchestrator.problems == {"edge": "", "cloud": ""}
        assert listening_sockets() == before
        with socket.create_server(("127.0.0.1", 0)):  # the control
            assert len(listening_sockets() - before) == 1


def test_it_can_be_opened_again_and_again_in_both_ways() -> None:
    @edge_service
    def echo(text: str) -> str:
        return text

    orchestrator = Orchestrator()

    async def call() -> str:
        async with orchestrator:
            return await echo.aio("hi")

    for _ in range(2):
        with orchestrator:
            assert echo("hi") == "hi"
        assert asyncio.run(call()) == "hi"


def test_its_thread_lives_from_entry_to_exit_and_not_from_the_constructor() -> None:
    before = private_threads()
    orchestrator = Orchestrator(app=[])
    assert private_threads() == before
    with orchestrator:
        assert private_threads() == [*before, "isthmus"]
    assert private_threads() == before


async def test_on_a_running_loop_it_starts_no_thread_and_leaves_no_task() -> None:
    @edge_service
    async def echo(text: str) -> str:
        return text

    threads, tasks = private_threads(), asyncio.all_tasks()
    async with Orchestrator():
        assert await echo("hi") == "hi"
        assert private_threads() == threads
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks


def test_one_that_is_open_cannot_be_opened_again_and_stays_open() -> None:
    @edge_service
    def echo(text: str) -> str:
        return text

    with Orchestrator() as orchestrator:
        with pytest.raises(UsageError, match="open already"), orchestrator:
            pytest.fail("it opened")
        assert echo("hi") == "hi"


def test_after_the_end_calls_say_that_none_is_open() -> None:
    @edge_service
    def echo(text: str) -> str:
        return text

    with pytest.raises(UsageError, match="no orchestrator is open: wrap the call in `with Orch"):
        echo("hi")
    with Orchestrator() as orchestrator:
        echo("hi")
    with pytest.raises(UsageError, match="no orchestrator is open"):
        echo("hi")
    with pytest.raises(UsageError, match="not open: use it in `with`"):
        _ = orchestrator.home


async def test_a_plain_with_inside_a_running_loop_names_async_with() -> None:
    before = private_threads()
    with pytest.raises(UsageError, match="use `async with`"), Orchestrator():
        pytest.fail("it opened")
    assert private_threads() == before


async def test_a_blocking_call_inside_a_running_loop_names_aio() -> None:
    @edge_service
    def echo(text: str) -> str:
        return text

    async with Orchestrator():
        with pytest.raises(UsageError, match=r"use `await .*echo\.aio\(\.\.\.\)`"):
            echo("hi")
        assert await echo.aio("hi") == "hi"


def test_an_exception_in_the_block_passes_and_all_is_closed() -> None:
    with pytest.raises(ZeroDivisionError), Orchestrator(app=[]):
        _ = 1 // 0
    assert private_threads() == []


def test_one_that_could_not_open_is_closed_and_opens_once_the_cause_is_gone(
    tmp_path: Path, minilm_store: Path
) -> None:
    minilm = TextEmbedding("minilm")

    @edge_service(models=[minilm])
    def embed(text: str) -> Vectors:
        return minilm([text])

    orchestrator = Orchestrator({"models": {"store": tmp_path / "models"}})
    with pytest.raises(ModelUnavailable) as caught, orchestrator:
        pytest.fail("it opened")
    assert f"isthmus models add minilm --from <folder> --models {tmp_path}" in str(caught.value)
    assert private_threads() == []
    shutil.copytree(minilm_store, tmp_path / "models")
    with orchestrator:
        assert embed("hi").shape == (1, 384)


def test_a_call_that_is_under_way_when_it_closes_ends_in_one_of_our_errors() -> None:
    entered = threading.Event()

    @edge_service
    async def hang() -> int:
        entered.set()
        await asyncio.sleep(60)
        return 1

    with ThreadPoolExecutor(1) as pool:
        with Orchestrator():
            call = pool.submit(hang.sync)
            entered.wait(20)
        error = call.exception(20)
    assert isinstance(error, OrchestratorError), repr(error)


# ---- calls from elsewhere


def test_threads_and_loops_of_their_own_call_at_once() -> None:
    @edge_service
    def double(number: int) -> int:
        return 2 * number

    @cloud_service
    async def triple(number: int) -> int:
        await asyncio.sleep(0)
        return 3 * number

    def from_a_thread(start: int) -> list[int]:
        return [double(number) + triple.sync(number) for number in range(start, start + 20)]

    async def from_a_loop(start: int) -> list[int]:
        numbers = range(start, start + 20)
        doubles = await asyncio.gather(*(double.aio(number) for number in numbers))
        triples = await asyncio.gather(*(triple(number) for number in numbers))
        return [sum(pair) for pair in zip(doubles, triples, strict=True)]

    with Orchestrator(), ThreadPoolExecutor(8) as pool:
        threads = [pool.submit(from_a_thread, start) for start in range(4)]
        loops = [pool.submit(lambda s: asyncio.run(from_a_loop(s)), start) for start in range(4)]
        for start in range(4):
            expected = [5 * number for number in range(start, start + 20)]
            assert threads[start].result(60) == loops[start].result(60) == expected


def test_a_call_that_is_cancelled_on_another_loop_is_cancelled_in_its_body() -> None:
    entered, cancelled = threading.Event(), threading.Event()

    @edge_service
    async def hang() -> None:
        entered.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def give_up() -> None:
        call = asyncio.create_task(hang())
        await asyncio.to_thread(entered.wait, 20)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    with Orchestrator():
        asyncio.run(give_up())
        assert cancelled.wait(20)


# ---- services that it first sees later


def counted(log: list[str], name: str = "Counted") -> Any:
    """Return a class of services, for both tiers, that notes when it is made."""

    @edge_service(overflow="cloud", deadline="10s", name=name)
    class Counted:
        def __init__(self) -> None:
            log.append("made")

        @method
        def ping(self) -> str:
            return "pong"

    return Counted


def test_services_of_the_app_are_ready_at_once_and_others_at_their_first_call() -> None:
    early, late = list[str](), list[str]()
    of_the_app, other = counted(early, "Early"), counted(late, "Late")
    with Orchestrator(app=[of_the_app]):
        assert (early, late) == (["made", "made"], [])  # an instance for each tier
        assert other.ping() == "pong"
        assert late == ["made", "made"]
        assert other.ping() == "pong"
        assert (early, late) == (["made", "made"], ["made", "made"])


def test_many_first_calls_at_once_make_one_instance_a_node() -> None:
    log: list[str] = []
    late = counted(log)
    with Orchestrator(app=[]), ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: late.ping(), range(16))) == ["pong"] * 16
    assert log == ["made", "made"]


def test_an_orchestrator_that_failed_to_open_keeps_nothing_of_the_attempt() -> None:
    orchestrator = Orchestrator()
    with fresh_catalogue():

        @cloud_service
        def keep(text: Sensitive[str]) -> Sensitive[str]:
            return text

        with pytest.raises(DefinitionError), orchestrator:
            pytest.fail("it opened")
    with orchestrator:
        log: list[str] = []
        assert counted(log).ping() == "pong"
        assert log == ["made", "made"]


def test_what_a_first_call_has_to_load_is_not_taken_from_its_deadline() -> None:
    @edge_service(deadline="100ms")
    class Slow:
        def __init__(self) -> None:
            time.sleep(0.3)

        @method
        def ping(self) -> str:
            return "pong"

    with Orchestrator(app=[]):
        assert Slow.ping() == "pong"


def test_a_model_that_is_missing_at_a_first_call_is_named_and_may_be_added_then(
    tmp_path: Path, minilm_store: Path
) -> None:
    minilm = TextEmbedding("minilm")

    @edge_service(models=[minilm])
    def embed(text: str) -> Vectors:
        return minilm([text])

    with Orchestrator({"models": {"store": tmp_path / "models"}}, app=[]):
        with pytest.raises(ModelUnavailable, match="isthmus models add minilm --from"):
            embed("hi")
        shutil.copytree(minilm_store, tmp_path / "models")
        assert embed("hi").shape == (1, 384)


def test_a_second_service_of_one_name_is_refused_at_its_first_call() -> None:
    @edge_service(name="greet")
    def greet() -> str:
        return "good morning"

    with fresh_catalogue():  # as if it stood in another module

        @edge_service(name="greet")
        def other() -> str:
            return "good night"

    with Orchestrator(app=[greet]):
        assert greet() == "good morning"
        with pytest.raises(DefinitionError, match="two services are named 'greet'"):
            other()


def test_a_service_that_no_node_is_cleared_for_is_refused_at_its_first_call_too() -> None:
    @cloud_service
    def keep(text: Sensitive[str]) -> Sensitive[str]:
        return text

    with Orchestrator(app=[]), pytest.raises(DefinitionError, match="keep takes sensitive data"):
        keep(Sensitive("x"))


# ---- what is checked at the start


def test_a_service_that_no_node_is_cleared_for_is_refused_with_the_cure() -> None:
    @cloud_service(name="keep")
    def keep(text: Sensitive[str]) -> Sensitive[str]:
        return text

    with pytest.raises(DefinitionError) as caught, Orchestrator():
        pytest.fail("it opened")
    said = str(caught.value)
    assert "keep takes sensitive data and runs on the cloud, where cloud has internal" in said
    assert "fallback= or overflow=" in said


def test_a_tier_that_is_cleared_or_a_label_that_is_left_open_will_do() -> None:
    @cloud_service(fallback="edge")
    def fall(text: Sensitive[str]) -> Sensitive[str]:
        return text

    @cloud_service
    def take(text: Labelled[str]) -> Labelled[int]:
        return text.with_value(3)

    with Orchestrator():
        assert fall.call(Sensitive("x")).tier == "edge"
        with pytest.raises(PrivacyRefused):
            take(Sensitive("x"))


def test_a_missing_tier_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed

    @cloud_service
    def heavy(text: str) -> str:
        return text

    @cloud_service(overflow="edge")
    def light(text: str) -> str:
        return text

    with Orchestrator() as orchestrator:
        assert list(orchestrator.problems) == ["edge"]
        assert light.call("hi").tier == "edge"
        with pytest.raises(NoRoute, match=r"no cloud node .*pip install 'isthmus\[cloud\]'"):
            heavy("hi")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"node": []}, "did you mean nodes?"),
        ({"policies": {"filters": ["privasy"]}}, "unknown rule 'privasy'; known are"),
        ({"policies": {"scorers": ["no_such_module:rule"]}}, "No module named 'no_such_module'"),
        ("nowhere.yaml", "there is no settings file nowhere.yaml"),
    ],
)
def test_wrong_settings_are_told_when_it_opens_and_nothing_stays_open(
    settings: Any, said: str
) -> None:
    with pytest.raises(SettingsError) as caught, Orchestrator(settings):
        pytest.fail("it opened")
    assert said in str(caught.value)
    assert private_threads() == []


# ---- its app


def test_an_app_is_a_name_a_module_or_a_list(add_module: AddModule) -> None:
    name = add_module("app_of_three_kinds", ECHO)
    with Orchestrator(app=name):
        echo = import_module(name).echo
        assert echo("hi") == "hi"
    for app in (import_module(name), [echo], iter([echo]), f"{name}:echo"):
        with Orchestrator(app=app):
            assert echo("hi") == "hi"


def test_an_app_is_what_its_module_and_those_below_declare_and_what_it_imports(
    add_module: AddModule,
) -> None:
    made = "from orchestrator.core.methods import method\nMADE = []\n"
    body = (
        "    def __init__(self): MADE.append('{0}')\n    @method\n    def go(self) -> int: return 1"
    )
    decorate = "from orchestrator.decorators import edge_service\n"
    for part in ("inner", "outer", "stranger"):
        source = f"{decorate}{made}@edge_service\nclass {part.title()}:\n{body.format(part)}\n"
        add_module("app_tree.inner" if part == "inner" else f"app_{part}", source)
    add_module(
        "app_tree.__init__", "import app_stranger, app_tree.inner\nfrom app_outer import Outer"
    )
    with Orchestrator(app="app_tree"):
        assert import_module("app_tree.inner").MADE == ["inner"]
        assert import_module("app_outer").MADE == ["outer"]
        assert import_module("app_stranger").MADE == []


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("no_such_app_of_mine", "run in the folder it lies in, or install it"),
        ("app_broken", "No module named 'no_such_thing'"),
        ("app_wrong", "'app_wrong' cannot be imported"),
        ("app_raises", "'app_raises' cannot be imported"),
        ("", "cannot be imported"),
        (".x", "cannot be imported"),
        ("app_empty", "declares no service: decorate a function with @edge_service"),
        ("app_echo:nothing", "module app_echo has no 'nothing'"),
    ],
)
def test_an_app_that_cannot_be_used_is_a_settings_error_with_the_cure(
    add_module: AddModule, app: str, said: str
) -> None:
    add_module("app_broken", "import no_such_thing")
    add_module("app_wrong", "def (:")
    add_module("app_raises", "1 / 0")
    add_module("app_empty", "x = 1")
    add_module("app_echo", ECHO)
    with pytest.raises(SettingsError) as caught, Orchestrator(app=app):
        pytest.fail("it opened")
    assert said in str(caught.value)
    assert private_threads() == []


def test_two_services_of_one_name_in_an_app_are_refused_and_both_shown(
    add_module: AddModule,
) -> None:
    for part in ("one", "two"):
        add_module(f"app_twice.{part}", ECHO)
    add_module("app_twice.__init__", "import app_twice.one, app_twice.two")
    with pytest.raises(DefinitionError) as caught, Orchestrator(app="app_twice"):
        pytest.fail("it opened")
    assert "two services are named 'echo'" in str(caught.value)
    for part in ("one.py:4", "two.py:4", "name="):
        assert part in str(caught.value)


@edge_service(name="echo_of_the_tests")
def echo_service(text: str) -> str:
    return text


def test_a_service_alone_is_an_app_too() -> None:
    with Orchestrator(app=echo_service):
        assert echo_service("hi") == "hi"


@pytest.mark.parametrize("app", [3, [3]])
def test_an_app_of_something_else_is_refused_instead_of_being_empty(app: Any) -> None:
    with pytest.raises(OrchestratorError), Orchestrator(app=app):
        pytest.fail("it opened")


# ---- nodes elsewhere


async def test_addresses_are_nodes_and_a_bare_one_may_see_public_data_only() -> None:
    @edge_service
    def length(text: Labelled[str]) -> Labelled[int]:
        return text.with_value(len(text.value))

    async with running_node("edge", length) as node, listening(node) as at:
        async with EdgeCloudOrchestrator(edge_nodes=[at], insecure=True) as bare:
            assert bare.problems == {"edge-1": ""}
            with pytest.raises(PrivacyRefused, match="above clearance public"):
                await length.aio(Sensitive("four"))
        cleared = {"address": at, "insecure": True, "clearance": "secret", "name": "cellar"}
        async with EdgeCloudOrchestrator(edge_nodes=[cleared]):
            result = await length.aio.call(Sensitive("four"))
            assert result.node == "cellar"
            assert result.value.reveal("test") == 4


async def test_a_zone_is_an_address_or_a_name_whose_records_are_the_nodes() -> None:
    @cloud_service
    def echo(text: str) -> str:
        return text

    async with running_node("cloud", echo) as node, listening(node) as at:
        zone = {"zone": at, "insecure": True, "name": "heaven", "clearance": "internal"}
        for given, name in ((at, f"cloud/{at}"), (zone, f"heaven/{at}")):
            async with EdgeCloudOrchestrator(cloud_zone=given, insecure=True):
                assert (await echo.aio.call("hi")).node == name


async def test_a_node_that_cannot_be_reached_is_named_with_its_address_and_the_cure() -> None:
    @edge_service
    def echo(text: str) -> str:
        return text

    at = f"127.0.0.1:{free_port()}"
    async with EdgeCloudOrchestrator(edge_nodes=[at], insecure=True) as orchestrator:
        assert at in orchestrator.problems["edge-1"]
        with pytest.raises(NoRoute, match="is the node running there") as caught:
            await echo.aio("hi")
    assert at in str(caught.value)


async def test_a_node_with_another_version_of_a_service_or_without_it_is_told_apart() -> None:
    @edge_service(name="echo")
    def theirs(text: str) -> str:
        return text

    with fresh_catalogue():

        @edge_service(name="echo")
        def ours(text: str, times: int) -> str:
            return text * times

        @edge_service
        def unknown(text: str) -> str:
            return text

    async with (
        running_node("edge", theirs) as node,
        listening(node) as at,
        EdgeCloudOrchestrator(edge_nodes=[at], insecure=True, app=[]),
    ):
        with pytest.raises(NoRoute, match=r"serves version [0-9a-f]{12}, the call needs"):
            await ours.aio("hi", 2)
        with pytest.raises(NoRoute, match="does not serve"):
            await unknown.aio("hi")


async def test_a_tier_that_the_settings_do_not_name_is_said_to_be_missing() -> None:
    @cloud_service
    def echo(text: str) -> str:
        return text

    nodes = [{"name": "edge-1", "tier": "edge", "address": "127.0.0.1:1", "insecure": True}]
    async with Orchestrator(Settings.model_validate({"nodes": nodes})):
        with pytest.raises(NoRoute, match="the settings name no cloud node"):
            await echo.aio("hi")


@pytest.mark.parametrize(
    "given",
    [
        {"cloud_zone": "gpu.example"},
        {"cloud_zone": "x:y"},
        {"edge_nodes": "gpu.example"},
        {"edge_nodes": ["gpu.example:99999"]},
    ],
)
async def test_nodes_that_are_written_wrong_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="write host:port"):
        async with EdgeCloudOrchestrator(**given, insecure=True, app=[]):
            pytest.fail("it opened")


@pytest.mark.parametrize("given", [{"edge_nodes": 3}, {"edge_nodes": [3]}, {"cloud_zone": 3}])
def test_nodes_of_another_type_are_refused_with_what_to_give(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="take addresses such as .* not int"):
        EdgeCloudOrchestrator(**given)


@pytest.mark.parametrize("given", [{}, {"edge_nodes": []}, {"edge_nodes": (), "cloud_zone": ""}])
def test_an_orchestrator_of_named_nodes_without_any_is_not_embedded_in_silence(
    given: dict[str, Any],
) -> None:
    with pytest.raises(SettingsError, match=r"give edge_nodes= or cloud_zone=, or use Orchestrat"):
        EdgeCloudOrchestrator(**given)


@pytest.mark.parametrize("given", [3, ["isthmus.yaml"]])
def test_settings_of_another_type_are_refused_with_what_to_give(given: Any) -> None:
    with pytest.raises(SettingsError, match="takes a settings file, Settings, or a mapping of"):
        with Orchestrator(given):
            pytest.fail("it opened")


# ---- bound services and interceptors


def recording(log: list[Call]) -> Any:
    """Return an interceptor that keeps the calls it sees."""

    async def interceptor(call: Call, rest: Next) -> Result[Any]:
        log.append(call)
        return await rest(call)

    return interceptor


def test_a_bound_service_goes_through_its_own_orchestrator_while_that_is_open() -> None:
    mine, others = list[Call](), list[Call]()
    own = Orchestrator(app=[], interceptors=[recording(mine)])

    @own.edge_service(idempotent=True)
    def bound(text: str) -> str:
        return text

    with Orchestrator(app=[], interceptors=[recording(others)]):
        with own, Orchestrator(app=[], interceptors=[recording(others)]):
            assert bound("hi") == "hi"
        assert (len(mine), len(others)) == (1, 0)
        assert bound("hi") == "hi"
        assert (len(mine), len(others)) == (1, 1)


def test_an_orchestrators_decorators_serve_classes_and_take_options() -> None:
    own = Orchestrator(app=[])

    @own.cloud_service(overflow="edge")
    class Ranker:
        @method
        async def score(self, number: int) -> int:
            return -number

    with own:
        assert Ranker.score.sync(3) == -3


def test_interceptors_see_every_call_in_their_order_and_may_answer() -> None:
    log: list[str] = []

    def noting(name: str) -> Any:
        async def interceptor(call: Call, rest: Next) -> Result[Any]:
            log.append(f"{name} {call.service}")
            return await rest(call)

        return interceptor

    @edge_service(name="inner")
    async def inner() -> str:
        return "hi"

    @edge_service(name="outer")
    async def outer() -> str:
        return await inner()

    with Orchestrator(interceptors=[noting("a"), noting("b")]):
        assert outer.sync() == "hi"
    assert log == ["a outer", "b outer", "a inner", "b inner"]


# ---- calls that bodies make


def test_calls_from_a_body_inherit_its_deadline_and_its_trace() -> None:
    seen: list[Call] = []

    @edge_service(name="inner", deadline="60s")
    def inner() -> int:
        return 1

    @cloud_service(name="outer", deadline="5s")
    def outer() -> int:
        return inner() + inner()

    with Orchestrator(interceptors=[recording(seen)]):
        assert outer() == 2
        assert inner() == 1
    call, first, second, later = seen
    assert first.deadline.at == second.deadline.at == call.deadline.at
    assert first.trace == second.trace == call.trace
    assert len({each.id for each in seen}) == 4
    assert later.trace != call.trace
    assert later.deadline.at > call.deadline.at


def test_what_a_body_opened_cannot_slip_into_a_call_to_the_cloud() -> None:
    seen: list[Call] = []

    @cloud_service(name="leak", overflow="edge")
    async def leak(text: str) -> int:
        return len(text)

    @edge_service(name="labelled")
    async def labelled(text: Sensitive[str], tier: str) -> Sensitive[int]:
        service = leak.options(tier="cloud") if tier == "cloud" else leak
        return text.with_value(await service(text.value))

    @edge_service(name="plain")
    async def plain(text: str) -> int:
        return await leak.options(tier="cloud")(text)

    with Orchestrator(interceptors=[recording(seen)]):
        with pytest.raises(ServiceFailed, match="PrivacyRefused"):
            labelled.sync(Sensitive("four", "pii"), "cloud")
        assert labelled.sync(Sensitive("four", "pii"), "any").reveal("test") == 4
        assert plain.sync("four") == 4  # the control
    labels = {call.label for call in seen if call.service == "leak"}
    assert labels == {Sensitive("x", "pii").label, PUBLIC}


def test_a_stream_comes_through_and_ends_with_its_result() -> None:
    @edge_service
    async def count(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    with Orchestrator():
        stream = count.sync(3)
        assert list(stream) == [0, 1, 2]
        assert (stream.result.tier, stream.result.value) == ("edge", None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def test_a_body_that_never_ends_does_not_keep_the_orchestrator_open() -> None:
    release = threading.Event()

    @edge_service(deadline="200ms")
    def stuck() -> None:
        release.wait(60)

    try:
        with within(20), Orchestrator(), pytest.raises(CallError):
            stuck()
    finally:
        release.set()


STUCK = """
import time
from orchestrator import Orchestrator, edge_service

@edge_service(deadline="100ms")
def stuck() -> None:
    time.sleep(60)

with Orchestrator():
    try:
        stuck()
    except Exception as error:
        print(type(error).__name__)
"""


def test_a_body_that_never_ends_does_not_keep_the_program_from_ending() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=6, check=False
    )
    assert (done.stdout, done.returncode) == ("DeadlineExceeded\n", 0)


def test_the_clearances_of_the_embedded_nodes_are_those_of_the_design() -> None:
    @cloud_service(name="keep", overflow="edge")
    def keep(text: Labelled[str]) -> Labelled[str]:
        return text

    with Orchestrator():
        decision = keep.call(Sensitive("x")).decision
        assert [c.endpoint.clearance for c in decision.candidates] == [Clearance(Level.SECRET)]
        assert [verdict.reason for verdict in decision.refused] == [
            "label sensitive is above clearance internal"
        ]


HALF_READ = """
from collections.abc import Iterator
from orchestrator import Orchestrator, edge_service

@edge_service
def numbers(to: int) -> Iterator[int]:
    yield from range(to)

with Orchestrator(app=[numbers]):
    stream = numbers(100)
    print(next(stream))
"""


def test_a_stream_that_was_left_half_read_is_closed_in_silence() -> None:
    command = [sys.executable, "-c", HALF_READ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


@edge_service
async def pause(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


async def test_waiting_bodies_side_by_side_are_not_taken_for_a_queue() -> None:
    async with Orchestrator(app=[pause]):
        calls = [pause.options(deadline="5s")(0.5) for _ in range(100)]
        assert await asyncio.gather(*calls) == [0.5] * 100
        assert await asyncio.gather(*(pause.options(deadline="5s")(0.5) for _ in range(100)))
