"""What the small forms of the proofs share: a store with the checksum model."""

from pathlib import Path

import pytest

from benchmarks.proofs.checksums import add_checksum_model


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store")
    add_checksum_model(path)
    return path
