"""Bare transports, nothing of the library: what calls are compared with."""
