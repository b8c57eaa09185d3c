from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from orchestrator.core.call import Call
from orchestrator.core.errors import EndpointUnavailable, SettingsError
from orchestrator.decorators import edge_service
from orchestrator.serving.server import Binding
from orchestrator.testing import listening, running_node
from orchestrator.wire.security import (
    TlsFiles,
    client_credentials,
    is_local,
    is_local_peer,
    server_credentials,
)
from orchestrator.wire.unary import UnaryChannel
from policies.facts import Clearance, Level

if TYPE_CHECKING:
    from tests.conftest import Authority

SECRET = Clearance(Level.SECRET)


@pytest.mark.parametrize(
    "address",
    [
        "localhost",
        "localhost:50051",
        "127.0.0.1:50051",
        "127.9.9.9:1",
        "[::1]:50051",
        "unix:/run/node.sock",
        "unix:///run/node.sock",
        "unix-abstract:node",
    ],
)
def test_loopback_and_unix_sockets_are_this_machine(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":50051",
        "0.0.0.0:50051",
        "[::]:50051",
        "192.168.1.9:50051",
        "128.0.0.1:1",
        "gpu1.example:50052",
        "localhost.evil.example:50051",
        "127.0.0.1.evil.example:50051",
        "evil.example:127.0.0.1:50051",
        "evil.example/localhost:50051",
        "dns:///evil.example:50051",
    ],
)
def test_every_other_address_is_another_machine(address: str) -> None:
    assert not is_local(address)


@pytest.mark.parametrize(
    ("peer", "here"),
    [
        ("unix:", True),
        ("unix:/run/edge.sock", True),
        ("ipv4:127.0.0.1:5", True),
        ("ipv6:%5B::1%5D:5", True),
        ("ipv6:[::1]:5", True),
        ("ipv4:10.0.0.1:5", False),
        ("ipv6:%5Bfe80::1%5D:5", False),
        ("dns:localhost", False),
        ("", False),
    ],
)
def test_who_calls_from_this_machine_is_told_from_others(peer: str, here: bool) -> None:
    assert is_local_peer(peer) is here


def test_half_a_certificate_is_refused(tmp_path: Path) -> None:
    for half in ({"cert": tmp_path}, {"key": tmp_path}):
        with pytest.raises(SettingsError, match="needs its key, and a key its certificate"):
            TlsFiles(**half)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    for credentials in (client_credentials, server_credentials):
        with pytest.raises(SettingsError, match=rf"{missing} cannot be read: No such file"):
            credentials(TlsFiles(ca=missing, cert=missing, key=missing))


def test_a_node_without_a_certificate_has_no_tls() -> None:
    with pytest.raises(SettingsError, match="--tls-cert and --tls-key"):
        server_credentials(TlsFiles())


@edge_service
def greet() -> str:
    return "hello"


async def test_only_a_caller_with_a_certificate_of_the_authority_is_served(
    call_of: Callable[..., Call], certificates: Any, tmp_path: Path
) -> None:
    strangers = trustme.CA().issue_cert("caller.example")
    strangers.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    strangers.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    nodes_ca = certificates.caller.ca
    forged = TlsFiles(nodes_ca, tmp_path / "cert.pem", tmp_path / "key.pem")
    async with (
        running_node("edge", greet) as node,
        listening(node, Binding(tls=certificates.node)) as address,
    ):
        for shown in (client_credentials(TlsFiles(nodes_ca)), client_credentials(forged), None):
            stranger = UnaryChannel(address, SECRET, shown)
            with pytest.raises(EndpointUnavailable, match="do both sides agree on TLS"):
                await stranger.send(call_of(greet, seconds=0.5))
            await stranger.aclose()
        friend = UnaryChannel(address, SECRET, client_credentials(certificates.caller))
        assert (await friend.send(call_of(greet))).value == "hello"
        await friend.aclose()
        assert node.metrics.calls.total() == 1


async def test_a_node_that_cannot_prove_its_name_gets_no_call(
    call_of: Callable[..., Call], certificates: Any, tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    mine = certificates.caller
    async with (
        running_node("edge", greet) as node,
        listening(node, Binding(tls=certificates.node)) as address,
    ):
        for ca, identity, served in (
            (mine.ca, "localhost", True),
            (mine.ca, "cloud-1.example", False),
            (tmp_path / "other.pem", "localhost", False),
        ):
            shown = client_credentials(TlsFiles(ca, mine.cert, mine.key))
            channel = UnaryChannel(address, SECRET, shown, identity)
            if served:
                assert (await channel.send(call_of(greet))).value == "hello"
            else:
                with pytest.raises(EndpointUnavailable):
                    await channel.send(call_of(greet, seconds=0.5))
            await channel.aclose()
        assert node.metrics.calls.total() == 1


async def test_a_node_without_a_ca_serves_callers_without_a_certificate(
    call_of: Callable[..., Call], certificates: Any
) -> None:
    files = TlsFiles(None, certificates.node.cert, certificates.node.key)
    async with (
        running_node("edge", greet) as node,
        listening(node, Binding(tls=files)) as address,
    ):
        channel = UnaryChannel(
            address, SECRET, client_credentials(TlsFiles(certificates.caller.ca))
        )
        assert (await channel.send(call_of(greet))).value == "hello"
        await channel.aclose()


async def test_certificates_that_are_none_are_a_settings_error_about_tls(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("this is no certificate\n")
    files = TlsFiles(None, tmp_path / "cert.pem", tmp_path / "key.pem")
    async with running_node("edge", greet) as node:
        with pytest.raises(SettingsError, match=r"certificate|TLS"):
            async with listening(node, Binding(tls=files)):
                pass


async def reaches(address: str, ca: Path, call: Call) -> bool:
    """Say whether a caller that trusts this authority reaches the node."""
    channel = UnaryChannel(address, SECRET, client_credentials(TlsFiles(ca)), "node.example")
    try:
        await channel.send(call)
    except EndpointUnavailable:
        return False
    finally:
        await channel.aclose()
    return True


async def test_a_node_shows_its_renewed_certificate_from_the_next_handshake_on(
    call_of: Callable[..., Call], make_authority: Callable[[str], "Authority"]
) -> None:
    old, new = make_authority("old"), make_authority("new")
    shown = old.issue("node.example")
    files = TlsFiles(None, shown.cert, shown.key)

    async with (
        running_node("edge", greet) as node,
        listening(node, Binding(tls=files)) as address,
    ):
        for issuer in (old, new, old):
            issuer.issue("node.example", into=shown)
            seen = [
                await reaches(address, authority.ca, call_of(greet, seconds=1.0))
                for authority in (old, new)
            ]
            assert seen == [issuer is old, issuer is new]


@pytest.mark.parametrize("wrong", ["half", "another's key", "gone"])
async def test_files_that_are_no_good_leave_the_old_certificate_in_use(
    wrong: str,
    call_of: Callable[..., Call],
    authority: "Authority",
    caplog: pytest.LogCaptureFixture,
) -> None:
    shown = authority.issue("node.example")
    files = TlsFiles(None, shown.cert, shown.key)
    assert shown.key
    assert shown.cert

    async with (
        running_node("edge", greet) as node,
        listening(node, Binding(tls=files)) as address,
    ):
        if wrong == "half":
            shown.cert.write_bytes(shown.cert.read_bytes()[:200])
        elif wrong == "gone":
            shown.cert.unlink()
        else:
            other = authority.issue("node.example")
            assert other.key
            shown.key.write_bytes(other.key.read_bytes())
        for _ in range(3):
            assert await reaches(address, authority.ca, call_of(greet))
        assert "the old certificate stays in use: TLS " in caplog.text
        if wrong != "gone":  # what is no good is told once
            assert caplog.text.count("the old certificate stays in use") == 1
        authority.issue("node.example", into=shown)
        assert await reaches(address, authority.ca, call_of(greet))
