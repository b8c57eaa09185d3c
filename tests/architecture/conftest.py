"""What the source says of itself: its modules and what each imports, read as text."""

import ast
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("orchestrator", "edge_node", "cloud_node", "policies", "protos")


@dataclass(frozen=True)
class Import:
    """One import statement: what it names, and whether it stands inside a function."""

    target: str
    line: int
    in_function: bool


@dataclass
class Module:
    """One source file."""

    name: str
    path: Path
    tree: ast.Module
    imports: list[Import] = field(default_factory=list)

    @property
    def lines(self) -> int:
        return len(self.path.read_text().splitlines())


def read_modules() -> dict[str, Module]:
    """Return every module of the packages, generated ones left out."""
    modules = {}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        if "_pb2" in path.name:
            continue
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        modules[name] = Module(name, path, ast.parse(path.read_text()))
    for module in modules.values():
        collect(module, module.tree, set(modules), in_function=False)
    return modules


def collect(module: Module, node: ast.AST, known: set[str], *, in_function: bool) -> None:
    """Add the imports below a node; TYPE_CHECKING blocks count like any other."""
    for child in ast.iter_child_nodes(node):
        inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(child, ast.Import):
            for alias in child.names:
                module.imports.append(Import(alias.name, child.lineno, in_function))
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{module.name}: imports are absolute"
            for alias in child.names:
                full = f"{child.module}.{alias.name}"
                target = full if full in known else str(child.module)
                module.imports.append(Import(target, child.lineno, in_function))
        collect(module, child, known, in_function=inside)


@pytest.fixture(scope="session")
def modules() -> dict[str, Module]:
    return read_modules()
