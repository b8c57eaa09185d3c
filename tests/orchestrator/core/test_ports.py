import socket
from pathlib import Path

from orchestrator.core.ports import free_port


def test_a_free_port_can_be_listened_on_and_is_none_that_the_kernel_gives_away() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(50):
        port = free_port()
        assert 1024 < port < first
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            listener.listen()
