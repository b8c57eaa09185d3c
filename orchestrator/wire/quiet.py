"""Silence for the core of gRPC, which writes to standard error past all logging."""

import os


def quiet_grpc() -> None:
    """Keep the core of gRPC silent, unless GRPC_VERBOSITY says otherwise; before grpc is imported.

    What goes wrong reaches us as exceptions and states, and is told in the library's own words.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
