"""The peers' own small servers: scripts that the Python of a peer's environment runs.

Nothing of the library is installed there: a script imports its framework and `shared`, which
lies beside it.
"""
