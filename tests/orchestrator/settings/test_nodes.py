from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.errors import SettingsError
from orchestrator.settings.caller import Settings, load_settings

NODE = {"name": "edge-1", "tier": "edge", "address": "127.0.0.1:1"}


@pytest.mark.parametrize("port", ["", ":", ":0", ":65536", ":99999", ":http", ":-1", ":1.5"])
@pytest.mark.parametrize("key", ["address", "zone"])
def test_a_place_without_a_port_that_can_be_is_refused_with_how_to_write_it(
    key: str, port: str
) -> None:
    node = {"name": "a", "tier": "edge", key: f"edge.example{port}"}
    with pytest.raises(SettingsError, match="has no port from 1 to 65535: write host:port"):
        load_settings(given={"nodes": [node]})


@pytest.mark.parametrize("place", ["a:1", "a:65535", "[::1]:50051", "unix:/run/node.sock"])
def test_a_place_with_a_port_or_a_socket_is_taken(place: str) -> None:
    (entry,) = load_settings(given={"nodes": [{**NODE, "address": place}]}).nodes
    assert entry.address == place


def test_a_zone_without_a_port_is_refused() -> None:
    with pytest.raises(SettingsError, match="port"):
        load_settings(given={"nodes": [{"name": "a", "tier": "cloud", "zone": "cloud.example"}]})


TLS = {"ca": "ca.pem", "cert": "hub.pem", "key": "hub.key"}
LISTEN = {"address": "0.0.0.0:50050", "tls": TLS}
ATTACHED = {"name": "edge-7", "tier": "edge", "attach": True, "tls": {"identity": "edge-7.example"}}


def test_a_node_that_attaches_needs_no_address_and_is_known_by_its_certificate() -> None:
    settings = load_settings(given={"listen": LISTEN, "nodes": [ATTACHED]})
    (node,) = settings.nodes
    assert settings.listen
    assert (node.attach, node.address, node.tls.identity) == (True, "", "edge-7.example")
    assert settings.listen.tls.cert == Path("hub.pem")


@pytest.mark.parametrize(
    ("listen", "node", "said"),
    [
        (None, {}, "edge-7 has attach: true and nothing to attach to: give listen its address"),
        (LISTEN, {"address": "a:1"}, "or attach: true for a node that dials"),
        (LISTEN, {"attach": False}, "or attach: true for a node that dials"),
        (LISTEN, {"insecure": True}, "leave insecure, tls.ca, tls.cert and tls.key out"),
        (LISTEN, {"tls": TLS}, "leave insecure, tls.ca, tls.cert and tls.key out"),
        (LISTEN, {"tls": {}}, "give edge-7 tls.identity: the name in its certificate"),
        ({"address": "a:1", "insecure": True}, {}, "nothing proves the identity of edge-7"),
        ({"address": "a:1"}, {}, "give tls.ca (who signs them), tls.cert and tls.key (ours), or"),
        ({"address": "a:1", "tls": {**TLS, "ca": None}}, {}, "give tls.ca"),
        ({**LISTEN, "insecure": True}, {}, "leave one of insecure and tls out"),
        ({**LISTEN, "address": "0.0.0.0"}, {}, "'0.0.0.0' has no port from 1 to 65535"),
        ({**LISTEN, "adress": "a:1"}, {}, "unknown key 'adress'; did you mean address?"),
    ],
)
def test_what_cannot_be_attached_to_is_refused_with_the_cure(
    listen: Any, node: dict[str, Any], said: str
) -> None:
    given = {"nodes": [{**ATTACHED, **node}], **({"listen": listen} if listen else {})}
    with pytest.raises(SettingsError) as caught:
        load_settings(given=given)
    assert said in str(caught.value)


def test_two_nodes_cannot_have_one_identity() -> None:
    nodes = [ATTACHED, {**ATTACHED, "name": "edge-8"}]
    with pytest.raises(SettingsError, match="two nodes have the tls.identity edge-7.example"):
        load_settings(given={"listen": LISTEN, "nodes": nodes})


def test_a_unix_socket_is_a_place_if_its_path_can_be() -> None:
    def settings(path: str) -> Settings:
        nodes = [{"name": "a", "tier": "edge", "address": f"unix:{path}", "insecure": True}]
        return load_settings(given={"nodes": nodes})

    for path in ("/run/isthmus/edge.sock", "edge.sock", "x" * 107):
        assert settings(path).nodes[0].address == f"unix:{path}"
    with pytest.raises(SettingsError, match="a Unix socket needs a path"):
        settings("")
    for path in ("x" * 108, "ü" * 54):
        with pytest.raises(SettingsError, match="has at most 107 bytes, and .* has 108: give a sh"):
            settings(path)


def test_a_node_that_attaches_is_shown_no_token() -> None:
    with pytest.raises(SettingsError, match="leave token out here"):
        load_settings(given={"listen": LISTEN, "nodes": [{**ATTACHED, "token": "cloud.jwt"}]})
    (node,) = load_settings(given={"nodes": [{**NODE, "token": "cloud.jwt"}]}).nodes
    assert node.token == Path("cloud.jwt")  # the control
