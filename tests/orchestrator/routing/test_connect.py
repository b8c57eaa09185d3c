from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from orchestrator.core.call import Call
from orchestrator.core.errors import PrivacyRefused, SettingsError
from orchestrator.core.report import NodeReport
from orchestrator.decorators import cloud_service
from orchestrator.routing.connect import (
    attachable,
    clearance_at,
    clearance_when_attached,
    connect,
)
from orchestrator.serving.server import Binding
from orchestrator.settings.nodes import ListenSettings, NodeEntry, TlsSettings
from orchestrator.testing import listening, running_node
from orchestrator.wire.security import TlsFiles
from policies.facts import Clearance, Label, Level

MakeCall = Callable[..., Call]
SECRET = Clearance(Level.SECRET)
LIMIT = 2**20


def entry(address: str = "", zone: str = "", insecure: bool = True, **more: object) -> NodeEntry:
    known = {"name": "cloud-1", "tier": "cloud", "clearance": SECRET, "insecure": insecure, **more}
    return NodeEntry.model_validate({"address": address, "zone": zone, **known})


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "unix:/run/node.sock"]
)
def test_plaintext_keeps_its_clearance_on_this_machine(address: str) -> None:
    assert clearance_at(entry(address), address) == SECRET


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.7:1",
        "cloud.example:1",
        "0.0.0.0:1",
        "[2001:db8::1]:1",
        "localhost.example:1",
        "127.0.0.1.example:1",
        "128.0.0.1:1",
    ],
)
def test_plaintext_beyond_this_machine_is_for_public_data_only(address: str) -> None:
    assert clearance_at(entry(address), address) == Clearance(Level.PUBLIC)
    assert clearance_at(entry(address, insecure=False), address) == SECRET  # the control: TLS


def test_a_zone_is_judged_by_each_address_behind_it() -> None:
    zone = entry(zone="cloud.example:1")
    assert clearance_at(zone, "10.0.0.7:1") == Clearance(Level.PUBLIC)
    assert clearance_at(zone, "127.0.0.1:1") == SECRET


async def test_labelled_data_is_refused_before_a_connection_is_even_tried(
    make_call: MakeCall,
) -> None:
    endpoint = connect(entry("cloud.example:1"), LIMIT)
    with pytest.raises(PrivacyRefused, match="label internal of the call is above clearance pub"):
        await endpoint.send(make_call(Label(Level.INTERNAL)), 10)


def test_what_the_settings_say_of_a_node_stands_in_its_facts() -> None:
    endpoint = connect(
        entry("10.0.0.7:1", dollars_per_hour=2.5, max_in_flight=3), LIMIT, name="cloud/1"
    )
    facts = endpoint.facts("echo")
    assert (facts.name, facts.tier, facts.dollars_per_hour) == ("cloud/1", "cloud", 2.5)
    assert facts.capacity == 3 + 1024


FILES = {"ca": "ca.pem", "cert": "hub.pem", "key": "hub.key"}


def listening_on(address: str, *, insecure: bool) -> ListenSettings:
    more = {"insecure": True} if insecure else {"tls": FILES}
    return ListenSettings.model_validate({"address": address, **more})


def attached(**more: Any) -> NodeEntry:
    return entry(attach=True, insecure=False, tls={"identity": "cloud-1.example"}, **more)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "unix:/run/hub.sock", "0.0.0.0:1", "hub:1"])
def test_an_attached_node_keeps_its_clearance_where_tls_or_this_machine_vouch_for_it(
    address: str,
) -> None:
    plain, tls = (listening_on(address, insecure=insecure) for insecure in (True, False))
    near = address in ("127.0.0.1:1", "unix:/run/hub.sock")
    kept = SECRET if near else Clearance(Level.PUBLIC)
    assert clearance_when_attached(attached(), plain) == kept
    assert clearance_when_attached(attached(), tls) == SECRET  # the control
    assert attachable(attached(), plain, LIMIT).endpoint.facts("echo").clearance == kept


async def test_what_an_attached_node_says_of_itself_raises_no_clearance(
    make_call: MakeCall, make_report: Callable[..., NodeReport]
) -> None:
    node = attached(clearance=Clearance(Level.INTERNAL))
    endpoint = attachable(node, listening_on("hub:1", insecure=False), LIMIT).endpoint
    endpoint.saw_report(make_report("cloud", clearance=SECRET))
    assert endpoint.facts("echo").clearance == Clearance(Level.INTERNAL)
    with pytest.raises(PrivacyRefused, match="above clearance internal"):
        await endpoint.send(make_call(Label(Level.SECRET)), 10)


def test_an_attached_node_is_known_by_its_certificate_and_in_plaintext_by_its_name() -> None:
    by_tls = attachable(attached(), listening_on("hub:1", insecure=False), LIMIT)
    by_name = attachable(attached(), listening_on("hub:1", insecure=True), LIMIT)
    assert (by_tls.identity, by_name.identity) == ("cloud-1.example", "cloud-1")
    assert by_tls.endpoint.options.address == "hub:1"


def test_a_tls_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    tls = TlsSettings(ca=tmp_path / "missing.pem")
    with pytest.raises(SettingsError, match=r"missing\.pem cannot be read"):
        connect(entry("cloud.example:1", insecure=False, tls=tls), LIMIT)


async def test_behind_a_zone_a_certificate_must_bear_the_zones_name(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("cloud.example")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "node.pem"))
    files = TlsFiles(cert=tmp_path / "node.pem", key=tmp_path / "node.pem")

    @cloud_service
    def echo(text: str) -> str:
        return text

    async with running_node("cloud", echo) as node, listening(node, Binding(tls=files)) as at:
        port = at.rpartition(":")[2]
        for zone, is_reached in ((f"cloud.example:{port}", True), (f"other.example:{port}", False)):
            known = entry(zone=zone, insecure=False, tls=TlsSettings(ca=tmp_path / "ca.pem"))
            endpoint = connect(known, LIMIT, address=at)
            try:
                reached = (await endpoint.channel.describe()).name == "cloud"
            except Exception:
                reached = False
            finally:
                await endpoint.channel.aclose()
            assert reached is is_reached


@pytest.mark.parametrize(
    ("address", "insecure", "may"),
    [
        ("127.0.0.1:1", True, True),
        ("unix:/run/node.sock", True, True),
        ("10.0.0.7:1", True, False),
        ("localhost.example:1", True, False),
        ("10.0.0.7:1", False, True),
    ],
)
async def test_a_token_goes_to_no_other_machine_in_plaintext(
    address: str, insecure: bool, may: bool, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("secret-token\n")
    known = entry(address, insecure=insecure, token=token)
    if may:
        await connect(known, LIMIT).aclose()
    else:
        with pytest.raises(SettingsError, match="would go to another machine in plaintext: give"):
            connect(known, LIMIT)


def test_a_token_for_a_zone_needs_tls(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a token is for TLS"):
        entry(zone="cloud.example:1", token=tmp_path / "token")


@pytest.mark.parametrize("text", [None, "", " \n", "two words", "a\nb", "\u00e4"])
def test_a_file_without_a_token_is_an_error_that_does_not_show_it(
    text: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match="the token .*token (cannot be read|is empty)") as e:
        connect(entry("127.0.0.1:1", token=path), LIMIT)
    assert "two words" not in str(e.value)
