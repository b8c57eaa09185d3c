"""TLS on both ends, and what counts as this machine."""

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import grpc

from orchestrator.core.errors import SettingsError


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The PEM files of one end.

    Attributes:
        ca: Who may sign the other end's certificate; None at a client means the system's list,
            at a server that clients need no certificate.
        cert: This end's certificate chain.
        key: Its private key.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise SettingsError("a TLS certificate needs its key, and a key its certificate")


def client_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """Return what a caller shows and trusts; raise SettingsError if a file is no good."""
    _check(files)
    return grpc.ssl_channel_credentials(_read(files.ca), _read(files.key), _read(files.cert))


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return what a node shows and trusts; with a `ca`, every caller needs a certificate.

    Raises:
        SettingsError: A file is missing, cannot be read, or does not belong to the others.
    """
    _check(files)
    key, cert = _read(files.key), _read(files.cert)
    if key is None or cert is None:
        raise SettingsError("a node with TLS needs --tls-cert and --tls-key")
    return grpc.ssl_server_credentials(
        [(key, cert)], _read(files.ca), require_client_auth=files.ca is not None
    )


def join_address(host: str, port: int) -> str:
    """Return "host:port", an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def is_local(address: str) -> bool:
    """Say whether an address is on this machine: loopback, or a Unix socket."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].strip("[]") or address
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_local_peer(peer: str) -> bool:
    """Say whether a peer, as gRPC writes it, is on this machine."""
    kind, _, address = peer.partition(":")
    return kind == "unix" or (kind in ("ipv4", "ipv6") and is_local(unquote(address)))


def _check(files: TlsFiles) -> None:
    """Try the files, since gRPC tells of a wrong one only at the first handshake, and elsewhere."""
    for path in (files.ca, files.cert, files.key):
        _read(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if files.cert and files.key:
            context.load_cert_chain(files.cert, files.key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(
            f"TLS certificate {files.cert} and key {files.key} do not fit together: {_said(error)}"
        ) from error
    try:
        if files.ca:
            context.load_verify_locations(files.ca)
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(f"TLS file {files.ca} has no certificate: {_said(error)}") from error


def _said(error: Exception) -> str:
    return getattr(error, "reason", None) or "not in PEM form"


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"TLS file {path} cannot be read: {error.strerror}") from error
