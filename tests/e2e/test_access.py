"""Roles, tokens and renewed certificates between an orchestrator and real daemons."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from orchestrator import Internal, Orchestrator
from orchestrator.core.errors import AccessDenied, NoRoute, Overloaded
from orchestrator.wire.security import TlsFiles

if TYPE_CHECKING:
    from tests.conftest import Authority
    from tests.e2e.conftest import Daemon, Start, Until

ACCESS: dict[str, Any] = {
    "roles": {
        "keeper": {"invoke": ["archive"]},
        "scarce": {"invoke": ["*"], "calls_per_second": 0.001, "burst": 1},
        "operator": {"metrics": True},
    },
    "identities": {
        "keeper.example": ["keeper"],
        "scarce.example": ["scarce"],
        "health.example": ["operator"],
    },
}


def flags_of(files: TlsFiles, *more: str) -> list[str]:
    flags = ["--tls-cert", str(files.cert), "--tls-key", str(files.key), "--tls-ca", str(files.ca)]
    return [*flags, *more]


def access_file(folder: Path, **more: Any) -> str:
    path = folder / "access.yaml"
    path.write_text(yaml.safe_dump({**ACCESS, **more}))
    return str(path)


def entry_of(daemon: "Daemon", files: TlsFiles, **more: Any) -> dict[str, Any]:
    tls = {"ca": files.ca, "cert": files.cert, "key": files.key, "identity": "cloud-1.example"}
    return daemon.entry(tls=tls, **more)


async def test_each_caller_may_do_what_its_identity_may(
    start: "Start", shop: ModuleType, authority: "Authority", tmp_path: Path
) -> None:
    node = authority.issue("cloud-1.example", "127.0.0.1")
    flags = flags_of(node, "--access", access_file(tmp_path))
    cloud = start("cloud", *flags, tls=authority.issue("health.example"))

    def calling_as(name: str) -> Orchestrator:
        return Orchestrator({"nodes": [entry_of(cloud, authority.issue(name))]}, app="shop")

    async with calling_as("keeper.example"):
        result = await shop.archive.aio.call(Internal("kettle"))
        assert result.decision.candidates[0].name == "cloud-1"
        with pytest.raises(AccessDenied, match="no role of the caller may invoke that service"):
            await shop.charge.aio(0.0)
    async with calling_as("scarce.example"):
        assert await shop.charge.aio(0.0)
        with pytest.raises(Overloaded, match="has used up its calls"):
            await shop.charge.aio(0.0)
    async with calling_as("stranger.example") as orchestrator:
        with pytest.raises(NoRoute, match="the caller has no role at this node"):
            await shop.archive.aio(Internal("kettle"))
        assert "no role" in orchestrator.problems["cloud-1"]
    assert cloud.metric('isthmus_requests_total{code="ACCESS_DENIED",service="charge"}') == 1
    assert cloud.metric('isthmus_requests_total{code="OK",service="archive"}') == 1
    assert "access was refused: 'stranger.example'" in cloud.output


async def test_a_renewed_token_takes_over_before_the_old_one_expires(
    start: "Start", shop: ModuleType, authority: "Authority", tmp_path: Path, until: "Until"
) -> None:
    key, other = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "issuer.pem").write_bytes(pem)
    tokens = {"keys": str(tmp_path / "issuer.pem"), "audience": "cloud-1.example"}
    access = access_file(tmp_path, tokens=tokens, metrics_need_token=True)
    node = authority.issue("cloud-1.example", "127.0.0.1")
    flags = flags_of(node, "--access", access)
    cloud = start("cloud", *flags, tls=authority.issue("health.example"))
    file = tmp_path / "token"

    def write(signer: Any, seconds: float, sub: str = "keeper.example") -> str:
        claims = {"sub": sub, "aud": "cloud-1.example", "exp": int(time.time() + seconds)}
        token: str = jwt.encode(claims, signer, algorithm="EdDSA")
        file.with_suffix(".new").write_text(token)
        os.replace(file.with_suffix(".new"), file)
        return token

    entry = entry_of(cloud, authority.issue("keeper.example"), token=file)
    write(other, 300)
    async with Orchestrator({"nodes": [entry]}, app="shop") as orchestrator:
        assert "no role" in orchestrator.problems["cloud-1"]
    write(key, -54)  # with the leeway it lives for six seconds
    async with Orchestrator({"nodes": [entry]}, app="shop") as orchestrator:
        end, calls = time.time() + 8, 0
        assert await shop.archive.aio(Internal("kettle")) is not None
        token = write(key, 300)
        while time.time() < end:
            await shop.archive.aio(Internal("kettle"))
            calls += 1
            await asyncio.sleep(0.02)
        assert calls > 100
        assert orchestrator.problems["cloud-1"] == ""
    assert token not in cloud.output
    assert cloud.page("/metrics")[0] == 401


class Ends:
    """A node's and a caller's files, renewed in place."""

    def __init__(self, folder: Path, authority: "Authority") -> None:
        ends = ("ca", "pem", "key")
        self.node, self.caller = (
            TlsFiles(*(folder / f"{name}.{end}" for end in ends)) for name in ("node", "caller")
        )
        self.trust(authority)
        self.issue(authority)

    def trust(self, *authorities: "Authority") -> None:
        for files in (self.node, self.caller):
            assert files.ca
            fresh = files.ca.with_suffix(".new")
            fresh.write_bytes(b"".join(each.pem for each in authorities))
            os.replace(fresh, files.ca)

    def issue(self, authority: "Authority") -> None:
        authority.issue("cloud-1.example", "127.0.0.1", into=self.node)
        authority.issue("keeper.example", into=self.caller)


async def test_both_ends_renew_their_certificates_under_load_and_no_call_fails(
    start: "Start",
    shop: ModuleType,
    authority: "Authority",
    make_authority: Callable[[str], "Authority"],
    tmp_path: Path,
    until: "Until",
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    ends = Ends(tmp_path, authority)
    flags = flags_of(ends.node, "--access", access_file(tmp_path))
    cloud = start("cloud", *flags, tls=ends.caller)
    done, over = 0, asyncio.Event()

    async def load() -> None:
        nonlocal done
        while not over.is_set():
            await shop.archive.aio(Internal("kettle"))
            done += 1
            await asyncio.sleep(0.01)

    async def renewed() -> None:
        seen = caplog.text.count("uses its new files")
        await until(lambda: caplog.text.count("uses its new files") > seen)

    trusted = authority
    async with Orchestrator({"nodes": [entry_of(cloud, ends.caller)]}, app="shop"):
        workers = [asyncio.create_task(load()) for _ in range(4)]
        for turn in range(1, 4):
            fresh = make_authority(f"authority-{turn}")
            ends.trust(trusted, fresh)
            await renewed()
            ends.issue(fresh)
            await renewed()
            ends.trust(fresh)
            await renewed()
            trusted = fresh
        over.set()
        await asyncio.gather(*workers)  # raises what any call raised
        assert done > 300
    # What was signed before does not get in any more; what is signed now does, as the control.
    assert ends.caller.ca
    for by, passes in ((authority, False), (trusted, True)):
        shown = by.issue("keeper.example", ca=ends.caller.ca)
        async with Orchestrator({"nodes": [entry_of(cloud, shown)]}, app="shop") as orchestrator:
            assert (orchestrator.problems["cloud-1"] == "") is passes


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("roles: {}", "identities"),
        ("{roles: {a: {invoke_all: true}}, identities: {}}", "unknown key 'invoke_all'"),
        (None, "there is no settings file"),
    ],
)
def test_a_wrong_access_file_stops_the_node_with_the_cure(
    file: str | None, said: str, start: "Start", authority: "Authority", tmp_path: Path
) -> None:
    path = tmp_path / "access.yaml"
    if file:
        path.write_text(file)
    flags = flags_of(authority.issue("127.0.0.1"), "--access", str(path))
    edge = start("edge", *flags, ready=False)
    assert edge.wait() == 2
    assert said in edge.output


def test_an_access_file_without_a_way_to_prove_oneself_stops_the_node(
    start: "Start", tmp_path: Path
) -> None:
    edge = start("edge", "--access", access_file(tmp_path), ready=False)
    assert edge.wait() == 2
    assert "with --access callers have to prove who they are: give --tls-ca" in edge.output
