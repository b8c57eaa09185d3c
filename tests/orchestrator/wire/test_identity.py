"""Who a peer is: names of its verified certificate, and nothing for whoever lacks them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import AccessDenied, EndpointUnavailable, SettingsError
from orchestrator.core.report import NodeReport
from orchestrator.decorators import cloud_service
from orchestrator.routing.connect import connect
from orchestrator.serving.server import Binding
from orchestrator.settings.nodes import NodeEntry
from orchestrator.testing import free_port, listening, running_node
from orchestrator.wire.attach import AttachServer
from orchestrator.wire.attached import AttachedNode
from orchestrator.wire.frames import ATTACH, encode_report_message
from orchestrator.wire.identity import certificate_of, identities_of
from orchestrator.wire.messages import encode_report
from orchestrator.wire.security import TlsFiles, client_credentials
from orchestrator.wire.status import error_of
from policies.facts import Clearance, Label, Level

if TYPE_CHECKING:
    from tests.conftest import Authority

MakeAuthority = Callable[[str], "Authority"]
SECRET = Label(Level.SECRET)


@pytest.mark.parametrize(
    ("peer", "identities"),
    [
        ({}, ()),
        ({"peer_dns": [b"a.example", b"b.example"]}, ("a.example", "b.example")),
        ({"peer_dns": [b"a.example"], "peer_ip": [b"10.0.0.1"]}, ("a.example", "10.0.0.1")),
        ({"peer_spiffe_id": [b"spiffe://a/b"]}, ("spiffe://a/b",)),
        ({"x509_common_name": [b"a.example"]}, ()),
        # A URI that gRPC does not hold for a SPIFFE id, such as one of two, is none.
        ({"peer_uri": [b"spiffe://a/b", b"spiffe://a/c"]}, ()),
        ({"x509_subject_alternative_name": [b"a.example"], "peer_email": [b"a.example"]}, ()),
    ],
)
def test_an_identity_is_read_where_its_own_kind_is_kept(
    peer: Mapping[str, list[bytes]], identities: tuple[str, ...]
) -> None:
    assert identities_of(peer) == identities


def test_the_certificate_of_a_peer_is_what_it_has_shown() -> None:
    assert certificate_of({"x509_pem_cert": [b"PEM"]}) == b"PEM"
    assert certificate_of({}) == b""


@cloud_service
def keep(text: str) -> str:
    return text


class Dialled:
    """A node on this machine, and a caller whose settings call it cloud-1.example."""

    def __init__(self, authority: "Authority", make_call: Callable[..., Call]) -> None:
        self._us = authority.issue("caller.example")
        self._call = make_call

    async def sent(self, tls: TlsFiles | None, name: str = "cloud") -> bool:
        """Say whether a secret call reaches a node with that certificate."""
        cloud = running_node("cloud", keep, clearance=Clearance(Level.SECRET), name=name)
        async with cloud as node, listening(node, Binding(tls=tls)) as address:
            entry = NodeEntry.model_validate(
                {
                    "name": "cloud-1",
                    "tier": "cloud",
                    "address": address,
                    "clearance": "secret",
                    "tls": {
                        "ca": self._us.ca,
                        "cert": self._us.cert,
                        "key": self._us.key,
                        "identity": "cloud-1.example",
                    },
                }
            )
            endpoint = connect(entry, 2**20)
            call = self._call(keep, label=SECRET, seconds=1.0, text="payload")
            try:
                await endpoint.send(call, 10)
            except EndpointUnavailable as refused:
                assert not refused.sent
            except AccessDenied:
                pass
            finally:
                await endpoint.aclose()
            return node.metrics.calls.total() == 1


@pytest.fixture
def dialled(authority: "Authority", call_of: Callable[..., Call]) -> Dialled:
    return Dialled(authority, call_of)


async def test_a_node_that_bears_the_identity_of_the_settings_gets_the_call(
    dialled: Dialled, authority: "Authority"
) -> None:
    assert await dialled.sent(authority.issue("cloud-1.example"))
    assert await dialled.sent(authority.issue("other.example", "cloud-1.example"))


@pytest.mark.parametrize(
    "wrong",
    [
        "authority",
        "name",
        "expired",
        "not-yet",
        "self-signed",
        "common-name",
        "spiffe",
        "plaintext",
    ],
)
async def test_a_node_that_does_not_bear_it_gets_nothing(
    wrong: str, dialled: Dialled, authority: "Authority", make_authority: MakeAuthority
) -> None:
    right, ca = "cloud-1.example", authority.ca
    made: dict[str, Callable[[], TlsFiles | None]] = {
        "authority": lambda: make_authority("stranger").issue(right, ca=ca),
        "name": lambda: authority.issue("cloud-2.example"),
        "expired": lambda: authority.issue(right, days=(-2, -1)),
        "not-yet": lambda: authority.issue(right, days=(1, 2)),
        "self-signed": lambda: authority.issue(right, self_signed=True),
        # Its common name does not help a certificate that has alternative names.
        "common-name": lambda: authority.issue("cloud-2.example", common=right),
        "spiffe": lambda: authority.issue("spiffe://prod.example/cloud-1"),
        "plaintext": lambda: None,
    }
    assert not await dialled.sent(made[wrong]())


async def test_a_node_that_lies_about_its_name_gets_nothing(
    dialled: Dialled, authority: "Authority"
) -> None:
    assert not await dialled.sent(authority.issue("cloud-2.example"), name="cloud-1.example")


async def test_a_common_name_alone_passes_at_a_node_that_is_dialled(
    dialled: Dialled, authority: "Authority"
) -> None:
    """Not as we would have it: gRPC's own check, which cannot be replaced in Python."""
    assert await dialled.sent(authority.issue(common="cloud-1.example"))
    assert not await dialled.sent(authority.issue(common="cloud-2.example"))


def test_a_spiffe_id_at_a_node_that_is_dialled_is_refused_with_the_cure() -> None:
    known = {"name": "cloud-1", "tier": "cloud", "address": "gpu1.example:50052"}
    with pytest.raises(ValueError, match="give a DNS name that its certificate bears, too, or let"):
        NodeEntry.model_validate({**known, "tls": {"identity": "spiffe://prod.example/cloud-1"}})


@pytest.mark.parametrize(
    "identity",
    ["spiffe://", "spiffe:///x", "spiffe://a", "spiffe://a/../b/", "https://a.example/x"],
)
def test_a_uri_that_is_no_spiffe_id_is_no_identity(identity: str) -> None:
    attached = {"name": "edge-7", "tier": "edge", "attach": True, "tls": {"identity": identity}}
    with pytest.raises(ValueError, match="is no identity: write a DNS name, or spiffe://"):
        NodeEntry.model_validate(attached)


SPIFFE = "spiffe://prod.example/edge-7"


class Hub:
    """An orchestrator that edge-7.example and one SPIFFE id may attach to."""

    def __init__(self, authority: "Authority") -> None:
        self.links = {name: AttachedNode(name, "here") for name in ("edge-7.example", SPIFFE)}
        self._authority = authority

    async def attaches(self, tls: TlsFiles | None, says: str = "edge") -> str:
        """Return as whom a node with that certificate attaches; empty if it may not."""
        address = f"127.0.0.1:{free_port()}"
        ours = self._authority.issue("hub.example")
        server = AttachServer(address, ours, self.links)
        await server.start()
        options: Any = [("grpc.ssl_target_name_override", "hub.example")]
        options.append(("grpc.use_local_subchannel_pool", 1))
        if tls:
            channel = grpc.aio.secure_channel(address, client_credentials(tls), options)
        else:
            channel = grpc.aio.insecure_channel(address, options[1:])
        report = encode_report(NodeReport(says, "edge", "ready", Clearance(Level.SECRET)))
        try:
            async with channel:
                call: Any = channel.stream_stream(ATTACH)(timeout=5)
                await call.write(encode_report_message(0, report.SerializeToString()))
                if "isthmus-attached" in dict(await call.initial_metadata()):
                    return next(name for name, link in self.links.items() if link.attached)
                await call.read()
        except grpc.aio.AioRpcError as failure:
            assert isinstance(error_of(failure, "hub"), AccessDenied | EndpointUnavailable)
        finally:
            await server.aclose()
        return ""


@pytest.mark.parametrize(
    ("names", "known_as"),
    [
        (("edge-7.example",), "edge-7.example"),
        ((SPIFFE,), SPIFFE),
        (("other.example", SPIFFE), SPIFFE),
        ((SPIFFE, "spiffe://prod.example/edge-8"), ""),  # an SVID has one URI
        (("spiffe://prod.example/edge-8",), ""),
        (("spiffe://other.example/edge-7",), ""),
        (("spiffe://prod.example/edge-7/x",), ""),
        (("https://prod.example/edge-7",), ""),
        (("edge-7.example", SPIFFE), ""),  # two nodes of the settings: which one?
    ],
)
async def test_a_node_attaches_as_its_dns_name_or_its_spiffe_id(
    names: tuple[str, ...], known_as: str, authority: "Authority"
) -> None:
    assert await Hub(authority).attaches(authority.issue(*names)) == known_as


@pytest.mark.parametrize(
    "wrong", ["authority", "name", "expired", "self-signed", "common-name", "plaintext", "lie"]
)
async def test_a_node_that_does_not_bear_it_does_not_attach(
    wrong: str, authority: "Authority", make_authority: MakeAuthority
) -> None:
    right, ca = "edge-7.example", authority.ca
    made: dict[str, Callable[[], TlsFiles | None]] = {
        "authority": lambda: make_authority("stranger").issue(right, ca=ca),
        "name": lambda: authority.issue("edge-8.example"),
        "expired": lambda: authority.issue(right, days=(-2, -1)),
        "self-signed": lambda: authority.issue(right, self_signed=True),
        "common-name": lambda: authority.issue(common=right),
        "plaintext": lambda: None,
        "lie": lambda: authority.issue("edge-8.example"),
    }
    says = "edge-7.example" if wrong == "lie" else "edge"
    assert await Hub(authority).attaches(made[wrong](), says) == ""


def test_settings_of_a_node_name_a_spiffe_id_where_it_attaches() -> None:
    attached = {"name": "edge-7", "tier": "edge", "attach": True, "tls": {"identity": SPIFFE}}
    assert NodeEntry.model_validate(attached).tls.identity == SPIFFE


def test_the_error_of_wrong_settings_is_one_of_settings() -> None:
    from orchestrator.settings.caller import load_settings

    node = {"name": "a", "tier": "cloud", "address": "a:1", "tls": {"identity": SPIFFE}}
    with pytest.raises(SettingsError, match="cannot be checked at a node that is dialled"):
        load_settings(given={"nodes": [node]})
