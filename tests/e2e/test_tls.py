"""Mutual TLS between an orchestrator and real daemons, with real certificates."""

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from orchestrator import Internal, Orchestrator
from orchestrator.core.errors import NoRoute
from orchestrator.wire.security import TlsFiles

if TYPE_CHECKING:
    from tests.conftest import Certificates
    from tests.e2e.conftest import Daemon, Start


@pytest.fixture(scope="module")
def cloud(start_shared: "Start", certificates: "Certificates") -> "Daemon":
    """A cloud node that wants a certificate of every caller."""
    node = certificates.node
    flags = ["--tls-cert", str(node.cert), "--tls-key", str(node.key), "--tls-ca", str(node.ca)]
    return start_shared("cloud", *flags, tls=certificates.caller)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """A certificate for the same names, from an authority that the node does not know."""
    folder, authority = tmp_path_factory.mktemp("strangers"), trustme.CA()
    issued = authority.issue_cert("caller.example", "localhost", "127.0.0.1")
    files = TlsFiles(folder / "ca.pem", folder / "me.pem", folder / "me.key")
    authority.cert_pem.write_to_path(str(files.ca))
    issued.cert_chain_pems[0].write_to_path(str(files.cert))
    issued.private_key_pem.write_to_path(str(files.key))
    return files


def calls_at(cloud: "Daemon") -> list[str]:
    return [row for row in cloud.page("/metrics")[1].splitlines() if "requests_total{" in row]


async def test_a_caller_with_the_right_certificate_may_send_what_its_settings_allow(
    cloud: "Daemon", shop: ModuleType
) -> None:
    async with Orchestrator({"nodes": [cloud.entry()]}, app="shop"):
        result = await shop.archive.aio.call(Internal("kettle"))
    assert result.node == "cloud-1"


async def test_the_name_in_the_certificate_may_be_another_than_the_address(
    cloud: "Daemon", shop: ModuleType, certificates: "Certificates"
) -> None:
    tls = {**cloud.entry()["tls"].model_dump(), "identity": "localhost"}
    async with Orchestrator({"nodes": [cloud.entry(tls=tls)]}, app="shop"):
        assert (await shop.charge.aio.call(0.0)).node == "cloud-1"


async def test_whoever_cannot_prove_who_it_is_is_refused_and_nothing_is_sent(
    cloud: "Daemon", shop: ModuleType, certificates: "Certificates", strangers: TlsFiles
) -> None:
    us = certificates.caller
    wrong: dict[str, dict[str, Any]] = {
        "no-certificate": {"tls": {"ca": us.ca}},
        "a-strangers-certificate": {
            "tls": {"ca": us.ca, "cert": strangers.cert, "key": strangers.key}
        },
        "trusts-another-authority": {"tls": {"ca": strangers.ca, "cert": us.cert, "key": us.key}},
        "expects-another-name": {
            "tls": {"ca": us.ca, "cert": us.cert, "key": us.key, "identity": "other.example"}
        },
        "plaintext": {"tls": {}, "insecure": True},
    }
    before = calls_at(cloud)
    nodes = [cloud.entry(name=name, **more) for name, more in wrong.items()]
    async with Orchestrator({"nodes": nodes}, app="shop") as orchestrator:
        with pytest.raises(NoRoute) as caught:
            await shop.archive.aio(Internal("kettle"))
        assert set(orchestrator.problems) == set(wrong)
        for name in wrong:
            assert "do both sides agree on TLS? This side uses" in orchestrator.problems[name]
    assert all(name in str(caught.value) for name in wrong)
    assert calls_at(cloud) == before
    # The control: the same node takes the same call from the right caller.
    async with Orchestrator({"nodes": [cloud.entry()]}, app="shop"):
        await shop.archive.aio(Internal("kettle"))
    assert calls_at(cloud) != before


async def test_a_caller_whose_certificate_is_refused_hears_of_certificates(
    cloud: "Daemon", shop: ModuleType, strangers: TlsFiles
) -> None:
    tls = {"ca": strangers.ca, "cert": strangers.cert, "key": strangers.key}
    async with Orchestrator({"nodes": [cloud.entry(tls=tls)]}, app="shop") as orchestrator:
        assert "certificate" in orchestrator.problems["cloud-1"].lower()


async def test_a_caller_with_tls_does_not_speak_to_a_plaintext_node(
    start: "Start", shop: ModuleType, certificates: "Certificates"
) -> None:
    plain, us = start("cloud"), certificates.caller
    tls = {"ca": us.ca, "cert": us.cert, "key": us.key}
    async with Orchestrator({"nodes": [plain.entry(insecure=False, tls=tls)]}, app="shop"):
        with pytest.raises(NoRoute, match="This side uses TLS"):
            await shop.archive.aio(Internal("kettle"))
    assert calls_at(plain) == []


async def test_a_node_without_a_callers_authority_takes_anyone_who_trusts_it(
    start: "Start", shop: ModuleType, certificates: "Certificates"
) -> None:
    node, us = certificates.node, certificates.caller
    flags = ["--tls-cert", str(node.cert), "--tls-key", str(node.key)]
    open_to_all = start("cloud", *flags, tls=TlsFiles(ca=us.ca))
    async with Orchestrator({"nodes": [open_to_all.entry()]}, app="shop"):
        assert (await shop.archive.aio.call(Internal("kettle"))).node == "cloud-1"


def test_a_node_whose_key_is_missing_says_which_file(
    start: "Start", certificates: "Certificates", tmp_path: Path
) -> None:
    missing = str(tmp_path / "node.key")
    flags = ["--tls-cert", str(certificates.node.cert), "--tls-key", missing]
    edge = start("edge", *flags, ready=False)
    assert edge.wait() == 2
    assert f"error: TLS file {missing} cannot be read: No such file or directory" in edge.output


def test_a_node_whose_key_belongs_to_another_certificate_does_not_start(
    start: "Start", certificates: "Certificates", strangers: TlsFiles
) -> None:
    flags = ["--tls-cert", str(certificates.node.cert), "--tls-key", str(strangers.key)]
    edge = start("edge", *flags, ready=False)
    assert edge.wait() == 2
    said = edge.output.partition("error: ")[2]
    assert "certificate" in said or "tls" in said.lower()
