import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from orchestrator.core.apps import declarations_of, load_app
from orchestrator.core.errors import DefinitionError, SettingsError
from orchestrator.core.methods import method
from orchestrator.decorators import edge_service

Write = Callable[..., str]

DOUBLE = """
from orchestrator import edge_service

@edge_service
def double(x: int) -> int:
    return 2 * x
"""
TRIPLE = DOUBLE.replace("double", "triple")


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a package of modules that can be imported, and gives its name."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"app_{uuid4().hex}"

    def written(**modules: str) -> str:
        for module, source in {"__init__": "", **modules}.items():
            path = tmp_path / name / f"{module}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(source.replace("APP", name))
        return name

    return written


def plain(x: int) -> int:
    return x


def names(app: str) -> list[str]:
    return [declaration.spec.name for declaration in load_app(app).declarations]


def test_an_app_is_its_modules_services_and_those_below(write: Write) -> None:
    name = write(__init__=DOUBLE + "\nfrom . import more", more=TRIPLE)
    assert names(name) == ["double", "triple"]
    assert names(f"{name}.more") == ["triple"]


def test_services_that_an_app_imports_by_name_belong_to_it(write: Write) -> None:
    name = write(parts=DOUBLE + TRIPLE.split("\n", 2)[2], main="from APP.parts import triple")
    assert names(f"{name}.main") == ["triple"]


def test_an_attribute_may_be_named_and_is_given(write: Write) -> None:
    name = write(__init__=DOUBLE + "\nanswer = 42\nnothing = None")
    assert load_app(f"{name}:answer").attribute == 42
    assert load_app(name).attribute is None
    with pytest.raises(SettingsError, match=f"app '{name}:ansr': module {name} has no 'ansr'"):
        load_app(f"{name}:ansr")


def test_an_app_in_the_folder_one_stands_in_is_found(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write(__init__=DOUBLE)
    sys.path.remove(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert names(name) == ["double"]


@pytest.mark.parametrize("app", ["no_such_app", "no_such_app.below:attribute", "orchestrator.nope"])
def test_an_app_that_cannot_be_found_names_the_cure(app: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_app(app)
    said = str(refused.value)
    assert said.startswith(f"app {app!r} cannot be imported: No module named")
    assert "run in the folder it lies in, or install it" in said


def test_an_app_that_misses_a_package_names_the_package(write: Write) -> None:
    name = write(__init__="import no_such_package")
    with pytest.raises(SettingsError, match="No module named 'no_such_package'"):
        load_app(name)


def test_an_app_without_services_names_the_decorators(write: Write) -> None:
    name = write(__init__="answer = 42")
    with pytest.raises(SettingsError, match="declares no service: decorate a function with @edge"):
        load_app(name)


def test_a_wrong_declaration_in_an_app_is_the_error_one_sees(write: Write) -> None:
    name = write(__init__=DOUBLE.replace("x: int", "x"))
    with pytest.raises(DefinitionError, match="double: parameter 'x' has no annotation"):
        load_app(name)


def test_two_services_of_one_name_in_two_modules_of_an_app_show_both(write: Write) -> None:
    name = write(__init__="from . import a, b", a=DOUBLE, b=DOUBLE)
    with pytest.raises(DefinitionError, match=r"named 'double': .*a\.py:4 and .*b\.py:4; give one"):
        load_app(name)


@pytest.mark.parametrize("source", ["def broken(:", "1 / 0", "open('/no/such/file')"])
def test_an_app_that_breaks_while_it_is_imported_is_a_settings_error(
    write: Write, source: str
) -> None:
    name = write(__init__=source)
    with pytest.raises(SettingsError, match=name):
        load_app(name)


@pytest.mark.parametrize("app", ["", ":services", ".relative"])
def test_a_name_that_is_no_module_is_a_settings_error(app: str) -> None:
    with pytest.raises(SettingsError, match="app"):
        load_app(app)


def test_services_and_classes_of_services_may_be_named_as_an_app() -> None:
    @edge_service
    class Scorer:
        @method
        def score(self, x: int) -> int:
            return x

        @method
        def rank(self, x: int) -> int:
            return x

    handle = edge_service(plain)
    found = [declaration.spec.name for declaration in declarations_of([handle, Scorer, 5, plain])]
    prefix = Scorer.__qualname__
    assert found == ["plain", f"{prefix}.rank", f"{prefix}.score"]


PROGRAM = """
from orchestrator import Orchestrator, edge_service

@edge_service
def hi(name: str) -> str:
    return f"hi {name}"

if __name__ == "__main__":
    with Orchestrator(app="program"):
        print(hi("Ada"))
"""


def test_a_program_may_name_itself_as_its_app(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "hi Ada\n", done.stderr
