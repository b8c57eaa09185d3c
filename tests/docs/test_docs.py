import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from orchestrator.core import errors
from orchestrator.serving.settings import NodeSettings
from orchestrator.settings.audit import AuditSettings
from orchestrator.settings.caller import Settings, load_settings
from orchestrator.settings.nodes import NodeEntry

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = [page for page in PAGES if "```python" in page.read_text()]
YAML = [page for page in PAGES if "```yaml" in page.read_text()]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", CODE, ids=named)
def test_the_python_of_a_page_runs(page: Path, minilm_store: Path, tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n\n".join(blocks(page, "python")))
    told = {**os.environ, "ISTHMUS_MODELS__STORE": str(minilm_store)}
    command = [sys.executable, str(script)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=told)
    assert found.returncode == 0, found.stderr


def test_the_first_example_is_an_app_that_a_node_serves(minilm_store: Path, tmp_path: Path) -> None:
    (tmp_path / "inbox.py").write_text(blocks(ROOT / "README.md", "python")[0])
    command = [sys.executable, "-m", "edge_node", "--app", "inbox", "--check"]
    command += ["--models", str(minilm_store)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert {"redact", "embed"} <= set(re.findall(r"^  (\w+)\(", found.stdout, re.MULTILINE))


def test_the_readme_says_where_the_model_of_its_first_example_comes_from() -> None:
    readme = ROOT / "README.md"
    added = re.search(r'isthmus models add (\w+) --from "\$\((\S+) path\)"', readme.read_text())
    assert added
    assert f'TextEmbedding("{added[1]}")' in blocks(readme, "python")[0]
    command = [str(Path(sys.executable).with_name(added[2])), "path"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (Path(found.stdout.strip()) / "model.safetensors").is_file()


@pytest.mark.parametrize("page", YAML, ids=named)
def test_the_settings_of_a_page_are_right(page: Path, tmp_path: Path) -> None:
    for block in blocks(page, "yaml"):
        file = tmp_path / "isthmus.yaml"
        file.write_text(block)
        assert load_settings(file) != Settings()


def test_the_readme_names_the_two_commands() -> None:
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in ("demo", "test", "demo-nodes"):
        assert f"make {target}" in readme
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("section", [Settings, AuditSettings, NodeEntry, NodeSettings])
def test_every_setting_is_in_the_reference(section: type[BaseModel]) -> None:
    reference = (ROOT / "docs/reference/settings.md").read_text()
    missing = [name for name in section.model_fields if not re.search(rf"\b{name}\b", reference)]
    assert missing == []


def test_every_error_is_in_the_reference() -> None:
    reference = (ROOT / "docs/reference/errors.md").read_text()
    names = [name for name in vars(errors) if isinstance(getattr(errors, name), type)]
    kinds = [n for n in names if issubclass(getattr(errors, n), errors.OrchestratorError)]
    assert [n for n in kinds if n != "OrchestratorError" and f"`{n}`" not in reference] == []


def test_the_examples_are_right() -> None:
    assert load_settings(ROOT / "examples/isthmus.yaml").nodes
    node = yaml.safe_load((ROOT / "examples/node.yaml").read_text())
    assert NodeSettings(**node).app == "inbox"
