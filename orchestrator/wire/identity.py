"""Who is at the other end of a TLS connection, as its verified certificate says."""

from collections.abc import Iterable, Mapping

_NAMES = ("peer_dns", "peer_ip", "peer_spiffe_id")
"""Where gRPC puts DNS names, IP addresses, and the SPIFFE id of a certificate with one URI."""


def identities_of(peer: Mapping[str, Iterable[bytes]]) -> tuple[str, ...]:
    """Return the identities that a verified certificate bears.

    Each kind of alternative name is read from where gRPC keeps that kind alone, so that none
    passes for one of another kind. The common name counts for nothing: authorities do not check
    it as they do the others (RFC 9525, 2023).

    Args:
        peer: What gRPC's server knows of the other end (`context.auth_context()`).
    """
    found = [name.decode(errors="replace") for kind in _NAMES for name in peer.get(kind, ())]
    return tuple(dict.fromkeys(found))


def certificate_of(peer: Mapping[str, Iterable[bytes]]) -> bytes:
    """Return the certificate that the other end has shown, in PEM form; empty if none."""
    return b"".join(peer.get("x509_pem_cert", ()))
