import socket
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.errors import SettingsError
from orchestrator.serving.batching.batcher import BatchOptions
from orchestrator.serving.settings import PREFIX, NodeSettings
from orchestrator.sources import load
from orchestrator.telemetry.audit.log import AuditPlace
from policies.facts import Clearance, Level


def loaded(path: Path | None = None, **flags: Any) -> NodeSettings:
    return load(NodeSettings, PREFIX, path, flags)


def test_flags_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("port: 1\nname: from the file\nmax_batch_size: 3\n")
    monkeypatch.setenv("ISTHMUS_NODE_PORT", "2")
    monkeypatch.setenv("ISTHMUS_NODE_NAME", "from the environment")
    settings = loaded(file, port=3)
    got = (settings.port, settings.name, settings.max_batch_size, settings.max_in_flight)
    assert got == (3, "from the environment", 3, 512)


def test_without_words_a_node_has_what_its_tier_has() -> None:
    for tier, level in (("edge", Level.SECRET), ("cloud", Level.INTERNAL)):
        options = NodeSettings().options("edge" if tier == "edge" else "cloud")
        assert options.clearance == Clearance(level)
        assert options.name == f"{tier}-{socket.gethostname()}"
        assert options.slots >= 4


def test_what_the_operator_says_of_the_node_is_what_it_becomes() -> None:
    said = loaded(name="n", clearance="secret:phi,pii", slots=2, max_in_flight=7, max_batch_size=5)
    options = said.options("cloud")
    assert options.clearance == Clearance(Level.SECRET, frozenset({"phi", "pii"}))
    got = (options.name, options.slots, options.max_in_flight, options.batching.max_batch_size)
    assert got == ("n", 2, 7, 5)


def test_how_a_model_batches_is_what_the_operator_says_of_it() -> None:
    assert NodeSettings().options("edge").batching == BatchOptions(
        max_batch_size=32, max_delay_ms=0.0, shape_aware=True, memory_aware=True
    )
    said: dict[str, Any] = {
        "max_batch_size": 5,
        "max_delay_ms": 2.5,
        "shape_aware": False,
        "memory_aware": False,
    }
    assert loaded(**said).options("edge").batching == BatchOptions(**said)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"max_delay_ms": -1}, "max_delay_ms: "),
        ({"shape_aware": "sometimes"}, "shape_aware: "),
        ({"prot": 1}, "did you mean port"),
        ({"port": 70_000}, r"port: .*less than or equal to 65535"),
        ({"port": "many"}, "port: "),
        ({"clearance": "top"}, "unknown level 'top': known are public, internal"),
        ({"slots": 0}, r"slots: .*greater than or equal to 1"),
        ({"log_level": "loud"}, "log_level: "),
        ({"max_call_mib": 4096}, "max_call_mib: "),
        ({"lame_duck_seconds": -1}, "lame_duck_seconds: "),
    ],
)
def test_a_wrong_setting_is_named(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        loaded(**flags)


def test_an_unknown_variable_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_NODE_PROT", "1")
    with pytest.raises(SettingsError, match=r"ISTHMUS_NODE_PROT: .*did you mean port"):
        loaded()


def test_a_file_with_an_unknown_key_or_no_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    with pytest.raises(SettingsError, match="there is no settings file"):
        loaded(file)
    file.write_text("clearence: secret\n")
    with pytest.raises(SettingsError, match="did you mean clearance"):
        loaded(file)


def test_the_binding_is_plaintext_or_tls_as_was_said(tmp_path: Path) -> None:
    plain = loaded(host="0.0.0.0", port=5, insecure=True).binding()
    assert plain is not None
    assert (plain.host, plain.port, plain.tls, plain.insecure) == ("0.0.0.0", 5, None, True)
    cert, key, ca = (tmp_path / name for name in ("cert", "key", "ca"))
    binding = loaded(tls_cert=cert, tls_key=key, tls_ca=ca).binding()
    assert binding is not None
    tls = binding.tls
    assert tls is not None
    assert (tls.cert, tls.key, tls.ca) == (cert, key, ca)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"tls_cert": "cert.pem"}, "needs its key"),
        ({"tls_key": "key.pem"}, "a key its certificate"),
        ({"tls_ca": "ca.pem"}, "needs --tls-cert, --tls-key"),
    ],
)
def test_half_of_tls_is_refused(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        loaded(**flags).binding()
    with pytest.raises(SettingsError, match=said):
        loaded(**flags, attach="hub:1").places()


def test_a_node_that_attaches_opens_no_port_unless_one_is_named() -> None:
    assert loaded(attach=["hub.example:50050"]).binding() is None
    binding = loaded(attach=["hub.example:50050"], port=0).binding()
    assert binding is not None
    assert binding.port == 0
    assert loaded().binding() is not None


def test_where_a_node_attaches_may_be_said_in_all_ways_that_people_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ("hub.example:50050", "unix:/run/hub.sock")
    for text in (f'attach: ["{both[0]}", "{both[1]}"]', f'attach: "{both[0]}, {both[1]}"'):
        (tmp_path / "node.yaml").write_text(text)
        assert loaded(tmp_path / "node.yaml").attach == both
    monkeypatch.setenv("ISTHMUS_NODE_ATTACH", both[0])
    assert loaded(tmp_path / "node.yaml").attach == both[:1]
    monkeypatch.setenv("ISTHMUS_NODE_ATTACH", ",".join(both))
    assert loaded().attach == both
    assert loaded(attach=["flag:1"]).attach == ("flag:1",)


@pytest.mark.parametrize("given", [["a:1", "b"], "a", "a:0", ["a:1", ""], ["a:1", "a:1"], 5])
def test_a_place_to_attach_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(SettingsError, match="attach"):
        loaded(attach=given)


def test_an_empty_list_of_places_is_none() -> None:
    assert loaded(attach="").attach == loaded(attach=[]).attach == ()


def test_where_a_node_attaches_it_shows_the_certificate_it_serves_with(tmp_path: Path) -> None:
    cert, key, ca = (tmp_path / name for name in ("cert", "key", "ca"))
    (place,) = loaded(attach="hub:1", tls_cert=cert, tls_key=key, tls_ca=ca).places()
    assert place.tls is not None
    assert (place.address, place.tls.cert, place.tls.key, place.tls.ca) == ("hub:1", cert, key, ca)
    (plain,) = loaded(attach="hub:1", insecure=True).places()
    assert (plain.tls, plain.insecure) == (None, True)


def test_a_socket_stands_beside_a_port() -> None:
    path = Path("/run/isthmus/edge.sock")
    for given in ({}, {"port": 0}, {"port": 0, "attach": ("a:1",)}):
        binding = NodeSettings(socket=path, **given).binding()
        assert binding
        assert binding.socket == path
    with pytest.raises(SettingsError, match="give --port, too"):
        NodeSettings(socket=path, attach=("a:1",)).binding()


def test_where_the_audit_log_is_kept_is_what_the_operator_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert NodeSettings().audit_place() is None
    monkeypatch.setenv("ISTHMUS_NODE_AUDIT_ANCHOR_SECONDS", "5")
    said = loaded(audit="a.log", audit_key="b.key", audit_anchor="c.json")
    assert said.audit_place() == AuditPlace(Path("a.log"), Path("b.key"), Path("c.json"), 5.0)
