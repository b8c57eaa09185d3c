"""The printed rules, loaded between two namespaces: who may be reached, who may not, who counts."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.proofs.capture.namespaces import (
    CLOUD_HOST,
    EDGE_HOST,
    Sides,
    inside,
    possible,
    two_sides,
)

if TYPE_CHECKING:
    from tests.e2e.conftest import Run

KNOWN, UNKNOWN, LOCAL, INCOMING = 50052, 50053, 50051, 50050

LISTEN = """
import socket, sys
kept = [socket.create_server((sys.argv[1], int(port))) for port in sys.argv[2:]]
print("listens", flush=True)
sys.stdin.read()
"""
DIAL = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("reached")
except OSError:
    print("refused")
"""


@pytest.fixture
def sides() -> Iterator[Sides]:
    """Two namespaces; the cloud listens on two ports, the edge on its loopback and on a third."""
    if not which("nft") or not possible():
        warnings.warn("no nft, or no namespaces: the egress rules were not tried", stacklevel=1)
        pytest.skip("needs nft, and root that may make network namespaces")
    with two_sides() as sides:
        listening = [
            subprocess.Popen(
                [*inside(name), sys.executable, "-c", LISTEN, host, *map(str, ports)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for name, host, ports in (
                (sides.cloud, CLOUD_HOST, (KNOWN, UNKNOWN)),
                (sides.edge, "127.0.0.1", (LOCAL,)),
                (sides.edge, EDGE_HOST, (INCOMING,)),
            )
        ]
        for process in listening:
            assert process.stdout
            assert process.stdout.readline() == b"listens\n"
        yield sides
        for process in listening:
            process.communicate()


def dial(name: str, host: str, port: int) -> str:
    command = [*inside(name), sys.executable, "-c", DIAL, host, str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def refused(sides: Sides) -> int:
    """Return how many packets the rules have refused."""
    command = ["nft", "--json", "list", "counter", "inet", "isthmus_egress", "refused"]
    done = subprocess.run([*inside(sides.edge), *command], capture_output=True, check=True)
    told: list[dict[str, Any]] = json.loads(done.stdout)["nftables"]
    return next(int(each["counter"]["packets"]) for each in told if "counter" in each)


def test_only_known_nodes_can_be_reached_and_others_are_counted(
    sides: Sides, run: "Run", tmp_path: Path
) -> None:
    node = {"name": "cloud-1", "tier": "cloud", "address": f"{CLOUD_HOST}:{KNOWN}"}
    (tmp_path / "isthmus.yaml").write_text(json.dumps({"nodes": [node | {"insecure": True}]}))
    # Without the rules all of them can be reached: what refuses later is the rules.
    assert dial(sides.edge, CLOUD_HOST, KNOWN) == "reached"
    assert dial(sides.edge, CLOUD_HOST, UNKNOWN) == "reached"

    printed = run("egress-rules", folder=tmp_path)
    assert printed.returncode == 0, printed.stderr
    (tmp_path / "rules.nft").write_text(printed.stdout)
    load = [*inside(sides.edge), "nft", "-f", str(tmp_path / "rules.nft")]
    for _ in range(2):  # they may be loaded anew
        subprocess.run(load, check=True)

    before = refused(sides)
    assert dial(sides.edge, CLOUD_HOST, KNOWN) == "reached"
    assert dial(sides.edge, "127.0.0.1", LOCAL) == "reached"
    assert dial(sides.cloud, EDGE_HOST, INCOMING) == "reached"
    assert refused(sides) == before
    attempts = [dial(sides.edge, CLOUD_HOST, UNKNOWN) for _ in range(5)]
    assert attempts == ["refused"] * 5
    assert refused(sides) == before + 5
    assert os.geteuid() == 0
