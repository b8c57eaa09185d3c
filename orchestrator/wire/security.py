"""TLS on both ends, and what counts as this machine."""

import ipaddress
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import grpc

from orchestrator.core.errors import SettingsError

_log = logging.getLogger("isthmus.tls")

_Contents = tuple[bytes | None, ...]


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

    The files are looked at with every handshake, so renewed ones count from the next on.

    Raises:
        SettingsError: A file is missing, cannot be read, or does not belong to the others.
    """
    if files.key is None or files.cert is None:
        _check(files)
        raise SettingsError("a node with TLS needs --tls-cert and --tls-key")
    renewal = _Renewal(files)
    return grpc.dynamic_ssl_server_credentials(
        renewal.read(),
        renewal,  # type: ignore[arg-type]  # it may return None, say gRPC's docs
        require_client_authentication=files.ca is not None,
    )


class _Renewal:
    """Gives gRPC's server its certificate anew when the files have changed."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen: _Contents = ()
        self._refused: _Contents = ()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Return what the files hold; raise SettingsError if they are no good."""
        _check(self._files)
        key, cert, ca = self._seen = self._contents()
        return grpc.ssl_server_certificate_configuration([(key, cert)], ca)  # type: ignore[list-item]

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what the files hold; None keeps the last, if that is nothing new or no good.

        gRPC calls this at each handshake, in a thread of its own.
        """
        before: _Contents = self._seen
        contents: _Contents = ()
        try:
            contents = self._contents()
            if contents in (before, self._refused):
                return None
            renewed = self.read()
        except SettingsError as error:
            self._seen, self._refused = before, contents
            _log.warning("the old certificate stays in use: %s", error)
            return None
        _log.info("the certificate in %s is in use", self._files.cert)
        return renewed

    def _contents(self) -> _Contents:
        return _read(self._files.key), _read(self._files.cert), _read(self._files.ca)


def read_token(path: Path) -> str:
    """Return the token in a file.

    Raises:
        SettingsError: It cannot be read, or holds what can be no token.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the token {path} cannot be read: {type(error).__name__}") from None
    if not token or not token.isprintable() or " " in token:
        raise SettingsError(f"the token {path} is empty, or more than a token")
    return token


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
