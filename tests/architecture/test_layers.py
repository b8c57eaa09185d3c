"""One direction of imports: a line may import lines below it, never beside or above."""

import subprocess
import sys
from typing import Any

import pytest

LAYERS = [
    ["policies", "protos"],
    ["orchestrator.core"],
    ["orchestrator.sources"],
    ["orchestrator.settings", "orchestrator.telemetry"],
    ["orchestrator.wire", "orchestrator.resilience", "orchestrator.models", "orchestrator.privacy"],
    ["orchestrator.decorators"],
    ["orchestrator.routing", "orchestrator.serving"],
    ["orchestrator.dispatch", "edge_node", "cloud_node"],
    ["orchestrator.assembly"],
    ["orchestrator.client"],
    ["orchestrator.bench", "orchestrator.commands", "orchestrator.demo", "orchestrator.testing"],
    ["orchestrator.cli"],
]

# The face names what the house gives to users; it belongs to no room.
FACE = "orchestrator"

GRPC_ROOMS = ("orchestrator.wire", "orchestrator.serving.server", "orchestrator.serving.servicer")
BARE_ROOMS = ("orchestrator.bench.bare", "orchestrator.bench.clients")
PROTO_ROOMS = (
    *GRPC_ROOMS,
    "orchestrator.bench.bare",
    "orchestrator.serving.exchange",
    "orchestrator.serving.session",
)

HEAVY = ("torch", "transformers", "onnxruntime")
LAZY = (*HEAVY, "pydantic_settings", "httpx", "structlog", "opentelemetry", "typer", "rich")

Modules = Any


def room_of(name: str) -> str | None:
    rooms = [room for line in LAYERS for room in line]
    return next((r for r in rooms if name == r or name.startswith(f"{r}.")), None)


def height_of(room: str) -> int:
    return next(height for height, line in enumerate(LAYERS) if room in line)


def test_every_module_has_a_room(modules: Modules) -> None:
    assert [name for name in modules if name != FACE and room_of(name) is None] == []


def test_imports_go_down(modules: Modules) -> None:
    wrong = []
    for module in modules.values():
        room = room_of(module.name)
        for found in module.imports:
            target = room_of(found.target)
            if room and target and room != target and height_of(target) >= height_of(room):
                wrong.append(f"{module.name}:{found.line} imports {found.target}")
    assert wrong == []


def test_nothing_inside_imports_the_face(modules: Modules) -> None:
    inside = [f"{m.name}:{i.line}" for m in modules.values() for i in m.imports if i.target == FACE]
    assert inside == []


def test_there_is_no_circle(modules: Modules) -> None:
    edges = {m.name: {i.target for i in m.imports} & modules.keys() for m in modules.values()}
    left = dict(edges)
    while free := [name for name, targets in left.items() if not targets & left.keys() - {name}]:
        for name in free:
            del left[name]
    assert sorted(left) == []


def test_policies_are_pure(modules: Modules) -> None:
    allowed = {"policies", *sys.stdlib_module_names} - {"asyncio", "time", "random", "os", "socket"}
    foreign = [
        f"{m.name}:{i.line} imports {i.target}"
        for m in modules.values()
        if m.name.startswith("policies")
        for i in m.imports
        if i.target.partition(".")[0] not in allowed
    ]
    assert foreign == []


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("onnxruntime", ("edge_node", "orchestrator.models", "orchestrator.bench.servers")),
        ("torch", ("cloud_node", "orchestrator.models")),
        ("transformers", ("cloud_node", "orchestrator.models")),
        ("grpc", (*GRPC_ROOMS, *BARE_ROOMS)),
        ("protos", PROTO_ROOMS),
    ],
)
def test_a_library_stays_in_its_rooms(
    modules: Modules, library: str, rooms: tuple[str, ...]
) -> None:
    strays = [
        f"{m.name}:{i.line}"
        for m in modules.values()
        if not m.name.startswith((*rooms, "protos"))
        for i in m.imports
        if i.target.partition(".")[0] == library
    ]
    assert strays == []


def test_heavy_libraries_load_inside_functions_only(modules: Modules) -> None:
    eager = [
        f"{m.name}:{i.line} imports {i.target}"
        for m in modules.values()
        for i in m.imports
        if i.target.partition(".")[0] in HEAVY and not i.in_function
    ]
    assert eager == []


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        ("import orchestrator", LAZY),
        ("from orchestrator import *", LAZY),
        ("import edge_node", (*LAZY, "orchestrator.client")),
        ("import edge_node.__main__", (*LAZY, "orchestrator.client", "grpc")),
        ("import cloud_node.__main__", (*LAZY, "orchestrator.client", "grpc")),
        ("import orchestrator.cli", (*HEAVY, "grpc")),  # grpc hears of its silence at its import
    ],
)
def test_an_import_takes_nothing_heavy(statement: str, never: tuple[str, ...]) -> None:
    code = f"{statement}\nimport sys\nprint(*[name for name in {never!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
