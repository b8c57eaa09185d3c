from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.commands.config import as_data, as_table, check_node_settings, check_settings
from orchestrator.core.errors import SettingsError

if TYPE_CHECKING:
    from tests.conftest import Certificates
    from tests.orchestrator.commands.conftest import Rendered, Write

RIGHT = """
nodes:
  - {name: edge-1, tier: edge, address: "127.0.0.1:50051", clearance: secret, insecure: true}
  - {name: cloud-1, tier: cloud, address: "gpu1.example:50052", clearance: internal, tls: {}}
policies: {filters: [availability, privacy], scorers: [completion]}
"""


def test_a_right_file_says_what_each_node_means(write: "Write") -> None:
    meanings = {finding.subject: finding.meaning for finding in check_settings(write(RIGHT))}
    assert meanings == {
        "node edge-1": "edge at 127.0.0.1:50051, plaintext, clearance secret",
        "node cloud-1": "cloud at gpu1.example:50052, TLS, clearance internal",
        "policies": "filters availability, privacy; scorers completion",
    }


def test_the_audit_log_is_shown_and_that_it_needs_an_anchor(write: "Write") -> None:
    *_, found, _ = check_settings(write("audit: {path: a.log, anchor: b.json}"))
    assert (found.meaning, found.warning) == ("kept in a.log, anchored in b.json every 60 s", "")
    *_, found, _ = check_settings(write("audit: {path: a.log}"))
    assert "no anchor" in found.warning


def test_nodes_that_attach_are_shown_with_where_and_as_whom(
    write: "Write", certificates: "Certificates"
) -> None:
    ours = certificates.node
    tls = f"{{ca: {ours.ca}, cert: {ours.cert}, key: {ours.key}}}"
    node = "{name: a, tier: edge, attach: true, clearance: secret, tls: {identity: a.example}}"
    text = f"listen: {{address: '0.0.0.0:50050', tls: {tls}}}\nnodes: [{node}]"
    listen, found, *_ = check_settings(write(text))
    assert (listen.meaning, listen.warning) == ("on 0.0.0.0:50050, TLS", "")
    assert found.meaning == "edge attaches as a.example, TLS, clearance secret"
    assert found.warning == ""


def test_nodes_that_attach_in_plaintext_from_elsewhere_are_shown_as_public(
    write: "Write",
) -> None:
    node = "{name: a, tier: edge, attach: true, clearance: secret}"
    text = f"listen: {{address: '0.0.0.0:50050', insecure: true}}\nnodes: [{node}]"
    _, found, *_ = check_settings(write(text))
    assert found.meaning == "edge attaches as a, plaintext, clearance public"
    assert "public data only" in found.warning


def test_an_address_that_nobody_may_attach_to_is_told(write: "Write") -> None:
    listen, *_ = check_settings(write("listen: {address: 'unix:/run/hub.sock', insecure: true}"))
    assert "no node has attach: true" in listen.warning


def test_plaintext_beyond_this_machine_is_shown_as_public_with_a_warning(write: "Write") -> None:
    far = '{name: far, tier: cloud, address: "10.0.0.1:1", clearance: secret, insecure: true}'
    near = '{name: near, tier: cloud, address: "localhost:1", clearance: secret, insecure: true}'
    findings = check_settings(write(f"nodes: [{far}, {near}]"))
    assert findings[0].meaning.endswith("clearance public")
    assert "public data only" in findings[0].warning
    assert findings[1].meaning.endswith("clearance secret")
    assert findings[1].warning == ""


def test_no_nodes_means_an_embedded_edge_and_cloud(write: "Write") -> None:
    (*_, last) = check_settings(write("models: {store: shelf}"))
    assert last.meaning == "none: an edge and a cloud are embedded, from shelf"


def test_an_empty_file_is_right(write: "Write") -> None:
    assert check_settings(write(""))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodez: []", "unknown key 'nodez'; did you mean nodes?"),
        (
            "nodes: [{name: a, tier: edge, adress: 'a:1'}]",
            "unknown key 'adress'; did you mean address?",
        ),
        ("nodes: [{name: a, tier: fog, address: 'a:1'}]", "nodes.0.tier"),
        ("nodes: [{name: a, tier: edge}]", "give the node's address, or the zone"),
        (
            "nodes: [{name: a, tier: edge, address: 'a:1', clearance: utmost}]",
            "unknown level 'utmost': known are public, internal, sensitive, secret",
        ),
        (
            "nodes: [{name: a, tier: edge, address: 'a:1'}, {name: a, tier: edge, zone: 'b:1'}]",
            "two nodes are named a",
        ),
        (
            "nodes: [{name: a, tier: edge, address: 'a:1', tls: {ca: nowhere.pem}}]",
            "TLS file nowhere.pem cannot be read: No such file or directory",
        ),
        (
            "nodes: [{name: a, tier: edge, address: 'a:1', tls: {cert: me.pem}}]",
            "a TLS certificate needs its key",
        ),
        (
            "nodes: [{name: a, tier: edge, address: 'a:1', insecure: true, tls: {ca: ca.pem}}]",
            "insecure means no TLS",
        ),
        ("nodes: [{name: a, tier: edge, attach: true}]", "nothing to attach to: give listen its"),
        (
            "listen: {address: 'a:1', tls: {ca: nowhere.pem, cert: a.pem, key: a.key}}",
            "TLS file nowhere.pem cannot be read",
        ),
        ("policies: {filters: [luck]}", "unknown rule 'luck'; known are tier, availability"),
        ("policies: {scorers: [privacy]}", "unknown rule 'privacy'; known are completion"),
        ("policies: {scorers: ['nowhere:Rule']}", "No module named 'nowhere'"),
        ("policies: {ms_per_dollar: -1}", "policies.ms_per_dollar"),
        ("max_call_mib: 4096", "max_call_mib"),
        ("nodes: [", "cannot be read"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong_in_it(
    text: str, said: str, write: "Write"
) -> None:
    path = write(text)
    with pytest.raises(SettingsError) as caught:
        check_settings(path)
    assert said in str(caught.value)
    if "TLS" not in said:
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2]", "hello", "- nodes"])
def test_a_file_that_holds_something_else_than_keys_is_refused(text: str, write: "Write") -> None:
    with pytest.raises(SettingsError):
        check_settings(write(text))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError):
        check_settings(tmp_path / "settings.yaml")


def test_the_environment_is_checked_with_the_file(
    write: "Write", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_MODELZ__STORE", "shelf")
    with pytest.raises(SettingsError, match="ISTHMUS_MODELZ__STORE: unknown key 'modelz'"):
        check_settings(write(RIGHT))
    monkeypatch.delenv("ISTHMUS_MODELZ__STORE")
    monkeypatch.setenv("ISTHMUS_MODELS__STORE", "shelf")
    assert "from shelf" in check_settings(write(""))[-1].meaning


def test_a_nodes_file_says_where_it_listens_and_what_it_lacks(write: "Write") -> None:
    bare = check_node_settings(write("{port: 50051, clearance: internal}"))
    assert (bare[0].meaning, bare[0].warning) == (
        "listens on 127.0.0.1:50051, plaintext",
        "names no app: give --app",
    )
    assert bare[1].meaning == "internal"
    whole = check_node_settings(write("{app: shop, host: 127.0.0.1}"))
    assert whole[0].warning == ""


def test_a_nodes_file_says_for_whom_it_is(
    write: "Write", certificates: "Certificates", tmp_path: Path
) -> None:
    assert check_node_settings(write("{app: shop}"))[-1].meaning == (
        "everyone who can connect may do everything"
    )
    access, node = tmp_path / "access.yaml", certificates.node
    access.write_text("{roles: {a: {}}, identities: {x.example: [a], y.example: [a]}}")
    tls = f"tls_cert: {node.cert}, tls_key: {node.key}"
    closed = f"{{app: shop, access: {access}, {tls}, tls_ca: {node.ca}}}"
    assert check_node_settings(write(closed))[-1].meaning == (
        "for 2 identities: x.example, y.example"
    )
    with pytest.raises(SettingsError, match="callers have to prove who they are"):
        check_node_settings(write(f"{{app: shop, access: {access}, {tls}}}"))
    access.write_text("{roles: {}, identities: {x.example: [a]}}")
    with pytest.raises(SettingsError, match="there is no role a"):
        check_node_settings(write(closed))


def test_the_token_of_a_node_is_read_and_stays_on_this_machine_in_plaintext(
    write: "Write", tmp_path: Path
) -> None:
    token = tmp_path / "token"
    node = "{name: a, tier: edge, address: '%s', insecure: true, token: %s}"
    near, far = (f"{{nodes: [{node % (at, token)}]}}" for at in ("127.0.0.1:1", "10.0.0.1:1"))
    with pytest.raises(SettingsError, match="cannot be read"):
        check_settings(write(near))
    token.write_text("secret-token")
    assert "secret-token" not in str(check_settings(write(near)))
    with pytest.raises(SettingsError, match="would go to another machine in plaintext"):
        check_settings(write(far))


def test_a_nodes_file_says_where_it_attaches(write: "Write") -> None:
    node, attach, *_ = check_node_settings(write("{app: shop, attach: '127.0.0.1:50050'}"))
    assert node.meaning == "opens no port"
    assert attach.meaning == "dials the orchestrator at 127.0.0.1:50050, plaintext"
    node, *_ = check_node_settings(write("{app: shop, attach: '127.0.0.1:50050', port: 50051}"))
    assert node.meaning == "listens on 127.0.0.1:50051, plaintext"


def test_a_nodes_file_with_certificates_says_who_may_call(
    write: "Write", certificates: "Certificates"
) -> None:
    node = certificates.node
    tls = f"{{tls_cert: {node.cert}, tls_key: {node.key}, tls_ca: {node.ca}, host: 0.0.0.0}}"
    assert check_node_settings(write(tls))[0].meaning == (
        "listens on 0.0.0.0:0, TLS, callers need a certificate"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot: 1", "unknown key 'prot'; did you mean port?"),
        ("host: 0.0.0.0", "say --insecure"),
        ("attach: 'hub.example:50050'", "is another machine's: give --tls-cert"),
        ("{tls_cert: nowhere.pem, tls_key: nowhere.key}", "TLS file nowhere.pem cannot be read"),
        ("{tls_ca: ca.pem}", "needs --tls-cert, --tls-key"),
        ("port: 70000", "port: Input should be less than or equal to 65535"),
        ("clearance: {level: internal, categorys: [phi]}", "clearance"),
    ],
)
def test_a_wrong_nodes_file_is_named_with_what_is_wrong(
    text: str, said: str, write: "Write"
) -> None:
    with pytest.raises(SettingsError) as caught:
        check_node_settings(write(text))
    assert said in str(caught.value)


def test_the_table_shows_all_that_the_data_say(write: "Write", rendered: "Rendered") -> None:
    findings = check_settings(write(RIGHT))
    text = rendered(as_table(Path("my.yaml"), findings))
    assert "my.yaml is right" in text
    assert all(row["meaning"] in text and row["subject"] in text for row in as_data(findings))


def test_a_column_of_warnings_is_there_only_if_one_is(write: "Write", rendered: "Rendered") -> None:
    quiet = rendered(as_table(Path("my.yaml"), check_settings(write(RIGHT))))
    assert "mind" not in quiet
    far = RIGHT.replace("127.0.0.1", "10.0.0.1")
    loud = rendered(as_table(Path("my.yaml"), check_settings(write(far))))
    assert "mind" in loud
    assert "public data only" in loud
