"""Two network namespaces, an edge and a cloud, joined by one cable (a veth pair).

What one side sends to the other passes the cable, whoever sends it and by whatever library.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

CABLE = "cable"
EDGE_HOST, CLOUD_HOST = "10.77.0.1", "10.77.0.2"


@dataclass(frozen=True, slots=True)
class Sides:
    """The names of both namespaces."""

    edge: str
    cloud: str


def possible() -> bool:
    """Say whether this process may make network namespaces."""
    if os.geteuid() != 0:
        return False
    name = f"isthmus-try-{os.getpid()}"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@contextmanager
def two_sides() -> Iterator[Sides]:
    """Make both namespaces and the cable, and take them away at the end."""
    sides = Sides(f"isthmus-edge-{os.getpid()}", f"isthmus-cloud-{os.getpid()}")
    made: list[str] = []
    try:
        for name in (sides.edge, sides.cloud):
            _ip("netns", "add", name)
            made.append(name)
            _ip("-n", name, "link", "set", "lo", "up")
        peer = ("type", "veth", "peer", "name", CABLE, "netns", sides.cloud)
        _ip("-n", sides.edge, "link", "add", CABLE, *peer)
        for name, host in ((sides.edge, EDGE_HOST), (sides.cloud, CLOUD_HOST)):
            _ip("-n", name, "address", "add", f"{host}/24", "dev", CABLE)
            _ip("-n", name, "link", "set", CABLE, "up")
        yield sides
    finally:
        for name in made:
            _ip("netns", "delete", name)


def inside(name: str) -> list[str]:
    """Return what stands before a command to run it in a namespace."""
    return ["ip", "netns", "exec", name]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)  # noqa: S607
