"""Rooms stay small: files, functions, and one test file for every file."""

import ast
from pathlib import Path
from typing import Any

from protos.generate import stale

Modules = Any

MAX_FILE, MAX_FUNCTION = 300, 50
TESTS = Path(__file__).resolve().parents[1]

# Files without behaviour of their own: protocols, plain data, and what e2e tests run.
WITHOUT_TESTS = {
    "edge_node.__main__",
    "cloud_node.__main__",
    "orchestrator.wire.channel",
    "orchestrator.wire.link",
    "orchestrator.core.report",
    "orchestrator.privacy.confusables",
    "orchestrator.privacy.recognisers.base",
    "policies.base",
    "protos.generate",
}


# Scripts that a peer's own environment runs: nothing of them can be imported here.
FOREIGN = ("orchestrator.bench.servers.", "_server", "triton_model")


def test_no_file_is_long(modules: Modules) -> None:
    assert {m.name: m.lines for m in modules.values() if m.lines > MAX_FILE} == {}


def test_no_function_is_long(modules: Modules) -> None:
    long = [
        f"{m.name}:{node.name}"
        for m in modules.values()
        for node in ast.walk(m.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION
        # A command line's function lists its options, which are no logic.
        and not any("typer" in ast.unparse(argument) for argument in node.args.args)
    ]
    assert long == []


def test_every_file_says_what_it_is_for(modules: Modules) -> None:
    silent = [m.name for m in modules.values() if m.tree.body and not ast.get_docstring(m.tree)]
    assert silent == []


def test_every_file_has_its_test_file(modules: Modules) -> None:
    missing = []
    for module in modules.values():
        if module.path.name == "__init__.py" or module.name in WITHOUT_TESTS:
            continue
        if module.name.startswith(FOREIGN[0]) and module.name.endswith(FOREIGN[1:]):
            continue
        *folders, name = module.name.split(".")
        if not TESTS.joinpath(*folders, f"test_{name.strip('_')}.py").exists():
            missing.append(module.name)
    assert missing == []


def test_generated_code_is_fresh() -> None:
    assert stale() == []
