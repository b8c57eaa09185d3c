from pathlib import Path

import pytest

from edge_node.settings import EdgeSettings
from orchestrator.core.errors import SettingsError
from orchestrator.serving.settings import PREFIX
from orchestrator.sources import load
from policies.facts import Clearance, Level


def test_an_edge_node_listens_on_this_machine_at_its_own_port_and_takes_secrets() -> None:
    settings = load(EdgeSettings, PREFIX, None, {})
    binding = settings.binding()
    assert binding is not None
    assert binding.address == "127.0.0.1:50051"
    assert settings.options("edge").clearance == Clearance(Level.SECRET)


def test_flags_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "node.yaml").write_text("port: 1\nname: from-file\nslots: 3\n")
    monkeypatch.setenv("ISTHMUS_NODE_PORT", "2")
    monkeypatch.setenv("ISTHMUS_NODE_NAME", "from-environment")
    settings = load(EdgeSettings, PREFIX, tmp_path / "node.yaml", {"name": "from-flag"})
    assert (settings.port, settings.name, settings.slots) == (2, "from-flag", 3)


def test_an_unknown_key_is_an_error_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("prot: 1\n")
    with pytest.raises(SettingsError, match="did you mean port"):
        load(EdgeSettings, PREFIX, tmp_path / "node.yaml", {})


def test_an_unknown_variable_of_a_node_is_an_error_and_one_of_the_caller_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ISTHMUS_MAX_CALL_MIB", "1")
    load(EdgeSettings, PREFIX, None, {})
    monkeypatch.setenv("ISTHMUS_NODE_PROT", "1")
    with pytest.raises(SettingsError, match="ISTHMUS_NODE_PROT"):
        load(EdgeSettings, PREFIX, None, {})
