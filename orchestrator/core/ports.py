"""Free ports of this machine, for those who start servers only to use them themselves."""

import secrets
import socket
from contextlib import suppress

_FIRST, _COUNT = 10_000, 22_000


def free_port() -> int:
    """Return a port of this machine that nobody listens on now.

    Not one of those that the kernel gives to whoever dials: it could give it away meanwhile.
    """
    while True:
        port = _FIRST + secrets.randbelow(_COUNT)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
