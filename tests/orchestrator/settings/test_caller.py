import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.errors import SettingsError
from orchestrator.settings.caller import Settings, load_settings
from policies.facts import Clearance, Level

Write = Callable[[str | bytes], Path]
NODE = {"name": "edge-1", "tier": "edge", "address": "127.0.0.1:1"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.upper().startswith("ISTHMUS_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a settings file and returns its path."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "isthmus.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_without_any_source_the_defaults_hold_and_no_node_is_named() -> None:
    assert load_settings() == Settings()
    assert Settings().nodes == ()
    assert Settings().policies.filters == ("availability", "privacy", "deadline", "capacity")


def test_the_file_of_the_design_is_read(write: Write) -> None:
    settings = load_settings(
        write(
            """
            nodes:
              - {name: edge-1, tier: edge, address: "127.0.0.1:50051", clearance: secret,
                 insecure: true}
              - {name: cloud-1, tier: cloud, address: "gpu1.example:50052", clearance: internal,
                 tls: {ca: ca.pem, cert: me.pem, key: me.key, identity: cloud-1.example}}
            policies:
              filters: [availability, privacy, deadline, capacity]
              scorers: [completion, cost]
              ms_per_dollar: 200
            models: {store: ./models}
            """
        )
    )
    edge, cloud = settings.nodes
    assert (edge.clearance, edge.insecure) == (Clearance(Level.SECRET), True)
    assert (cloud.tls.identity, cloud.tls.ca) == ("cloud-1.example", Path("ca.pem"))
    assert settings.models.store == Path("models")


def test_environment_wins_over_the_file_and_what_is_given_over_both(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("max_call_mib: 1\npolicies: {ms_per_dollar: 1}\nmodels: {store: from-file}")
    monkeypatch.setenv("ISTHMUS_POLICIES__MS_PER_DOLLAR", "2")
    monkeypatch.setenv("ISTHMUS_MODELS__STORE", "from-environment")
    settings = load_settings(path, {"models": {"store": "given"}})
    assert settings.max_call_mib == 1
    assert settings.policies.ms_per_dollar == 2
    assert settings.models.store == Path("given")


def test_nodes_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "ISTHMUS_NODES", '[{"name": "a", "tier": "edge", "address": "x:1", "clearance": "secret"}]'
    )
    assert load_settings().nodes[0].clearance == Clearance(Level.SECRET)


@pytest.mark.parametrize(
    ("text", "where", "cure"),
    [
        ("node: []", "node: unknown key", "did you mean nodes?"),
        (
            "xyzzy: 1",
            "xyzzy: unknown key",
            "known are nodes, listen, policies, models, privacy, max_call_mib",
        ),
        ("policies: {ms_per_dolar: 3}", "policies.ms_per_dolar", "did you mean ms_per_dollar?"),
        ("models: {stor: x}", "models.stor", "did you mean store?"),
        (
            "nodes: [{name: a, tier: edge, address: 'x:1', clearence: secret}]",
            "nodes.0.clearence",
            "did you mean clearance?",
        ),
        (
            "nodes: [{name: a, tier: edge, address: 'x:1', tls: {caa: x}}]",
            "nodes.0.tls.caa",
            "did you mean ca?",
        ),
    ],
)
def test_an_unknown_key_at_any_depth_is_an_error_with_its_place_and_cure(
    write: Write, text: str, where: str, cure: str
) -> None:
    path = write(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert str(path) in str(caught.value)
    assert where in str(caught.value)
    assert cure in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "cure"),
    [
        ("ISTHMUS_MAXCALLMIB", "did you mean max_call_mib?"),
        ("ISTHMUS_XYZZY", "known are nodes"),
        ("ISTHMUS_POLICIES__MS_PER_DOLAR", "did you mean ms_per_dollar?"),
    ],
)
def test_an_unknown_variable_is_an_error_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, variable: str, cure: str
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert cure in str(caught.value)


def test_variables_of_the_nodes_and_of_others_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ISTHMUS_NODE_PORT", "not a port")
    monkeypatch.setenv("ISTHMUSX", "1")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nodes": [NODE, NODE]}, "two nodes are named edge-1: names must differ"),
        ({"nodes": [{**NODE, "zone": "x:1"}]}, "give the node's address, or the zone"),
        ({"nodes": [{"name": "a", "tier": "edge"}]}, "give the node's address, or the zone"),
        ({"nodes": [{**NODE, "tier": "fog"}]}, "nodes.0.tier: Input should be 'edge' or 'cloud'"),
        ({"nodes": [{**NODE, "insecure": True, "tls": {"ca": "x"}}]}, "insecure means no TLS"),
        ({"nodes": [{**NODE, "max_in_flight": 0}]}, "nodes.0.max_in_flight"),
        ({"nodes": [{**NODE, "dollars_per_hour": -1}]}, "nodes.0.dollars_per_hour"),
        ({"nodes": [{"tier": "edge", "address": "x:1"}]}, "nodes.0.name: Field required"),
        ({"max_call_mib": 0}, "max_call_mib"),
        ({"max_call_mib": "lots"}, "max_call_mib"),
        ({"policies": {"ms_per_dollar": float("nan")}}, "policies.ms_per_dollar"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_place(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(given=given)
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no settings file .*nowhere\.yaml"):
        load_settings(tmp_path / "nowhere.yaml")
    with pytest.raises(SettingsError, match="there is no settings file"):
        load_settings(tmp_path)


@pytest.mark.parametrize("text", ["nodes: [ {", "nodes:\n\t- a", "max_call_mib: !!python/name:x 1"])
def test_a_file_that_is_no_yaml_is_an_error_that_names_the_place(write: Write, text: str) -> None:
    with pytest.raises(SettingsError, match=r"isthmus\.yaml cannot be read(.|\n)*line \d"):
        load_settings(write(text))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("- a\n- b", id="a list"),
        pytest.param("hello", id="a word"),
        pytest.param("1: 2", id="a number as key"),
        pytest.param("# Gr\u00fc\u00dfe".encode("latin-1"), id="not UTF-8"),
    ],
)
def test_a_file_that_holds_no_settings_is_a_settings_error(write: Write, text: str | bytes) -> None:
    with pytest.raises(SettingsError, match=r"isthmus\.yaml"):
        load_settings(write(text))


@pytest.mark.parametrize("text", ["", "# nothing\n", "~"])
def test_an_empty_file_says_nothing(write: Write, text: str) -> None:
    assert load_settings(write(text)) == Settings()


@pytest.mark.parametrize("value", ["", "x", "[{"])
def test_a_variable_that_cannot_be_read_is_an_error(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ISTHMUS_NODES", value)
    with pytest.raises(SettingsError, match='"nodes".* is written as JSON there'):
        load_settings()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("nodes:", "nodes"),
        ("policies:", "policies"),
        ("models: {store: }", "models.store"),
        ("nodes: [{name: a, tier: edge, address: }]", "nodes.0.address"),
        ("nodes: [{name: a, tier: edge, address: 'x:1', clearance: }]", "nodes.0.clearance"),
    ],
)
def test_a_key_that_was_left_empty_is_said_to_be_empty(write: Write, text: str, where: str) -> None:
    with pytest.raises(SettingsError, match=rf"isthmus\.yaml: {where}: it is empty: give it a val"):
        load_settings(write(text))


@pytest.mark.parametrize("given", [{1: 2}, {"_env_file": "x"}])
def test_a_key_that_is_given_and_is_no_setting_is_an_error(given: Any) -> None:
    with pytest.raises(SettingsError):
        load_settings(given=given)


def test_an_infinite_exchange_rate_is_refused() -> None:
    with pytest.raises(SettingsError):
        load_settings(given={"policies": {"ms_per_dollar": float("inf")}})


def test_values_that_may_be_private_stand_in_no_error() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(given={"nodes": [{**NODE, "token": "hunter2"}], "max_call_mib": "hunter3"})
    assert "hunter" not in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        Settings().max_call_mib = 3


def test_categories_that_are_no_names_are_a_settings_error() -> None:
    with pytest.raises(SettingsError):
        load_settings(
            given={"nodes": [{**NODE, "clearance": {"level": "secret", "categories": 5}}]}
        )


def test_where_nodes_attach_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_LISTEN__ADDRESS", "unix:/run/hub.sock")
    monkeypatch.setenv("ISTHMUS_LISTEN__INSECURE", "true")
    listen = load_settings().listen
    assert listen
    assert (listen.address, listen.insecure) == ("unix:/run/hub.sock", True)


def test_shared_memory_may_be_turned_off_and_has_a_bound() -> None:
    assert load_settings(given={"shared_memory_mib": 0}).shared_memory_mib == 0
    for wrong in (-1, 1025):
        with pytest.raises(SettingsError, match="shared_memory_mib"):
            load_settings(given={"shared_memory_mib": wrong})
