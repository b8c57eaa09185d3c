"""Bearer tokens: JSON Web Tokens (RFC 7519) that are bound to the certificate they come with."""

import base64
import hashlib
import json
import logging
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import SettingsError
from orchestrator.serving.access.settings import TokenSettings

if TYPE_CHECKING:
    from jwt import PyJWK

_log = logging.getLogger("isthmus.node")

LEEWAY_SECONDS = 60
"""How far the clocks of a node and of whoever issues tokens may be apart."""

_NEEDED = ("exp", "aud", "sub")
_PRIVATE = "d"
"""What only the private half of a key has in a JWK."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a token speaks for.

    Attributes:
        name: Its subject.
        expires: Until when, in seconds since 1970.
    """

    name: str
    expires: float


class BadToken(Exception):
    """A token is not to be trusted; says why in fixed words, for the log alone."""


class TokenReader:
    """Reads tokens; the file of keys is read anew when it changes.

    Args:
        settings: Which tokens are taken.

    Raises:
        SettingsError: There are no keys in the file, or the library that reads tokens is missing.
    """

    def __init__(self, settings: TokenSettings) -> None:
        self._settings = settings
        self._data: bytes | None = None
        self._keys: dict[str, PyJWK] = {}
        self._refresh()

    def read(
        self, token: str, identities: Sequence[str], certificate: bytes, *, alone: bool = False
    ) -> Bearer:
        """Return whom a token speaks for.

        Args:
            token: As it came.
            identities: The names in the certificate that came with it.
            certificate: That certificate, PEM; empty if there was none.
            alone: Whether it could not come with one.

        Raises:
            BadToken: It is not to be trusted.
        """
        import jwt

        try:
            self._refresh()
        except SettingsError as error:
            _log.warning("%s; the keys read before stay in use", error)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(jwt.get_unverified_header(token)),
                algorithms=list(self._settings.algorithms),
                audience=self._settings.audience,
                issuer=self._settings.issuer or None,
                leeway=LEEWAY_SECONDS,
                options={"require": list(_NEEDED), "enforce_minimum_key_length": True},
            )
            self._check_holder(claims, identities, certificate, alone)
            return Bearer(claims["sub"], float(claims["exp"]) + LEEWAY_SECONDS)
        except Exception as error:  # whatever a stranger's token does to a parser, it is refused
            # Words of the library's errors may hold claims; those of ours are fixed.
            said = str(error) if isinstance(error, BadToken) else type(error).__name__
            raise BadToken(said) from None

    def _key(self, header: Mapping[str, Any]) -> "PyJWK":
        """Return the key that a token names; one that names none is of the only key there is."""
        name = header.get("kid")
        key = self._keys.get(name or "")
        if name is None and len(self._keys) == 1:
            (key,) = self._keys.values()
        elif key is None and list(self._keys) == [""]:
            key = self._keys[""]  # a PEM file does not name its key
        if key is None:
            raise BadToken("no key has its name")
        return key

    def _check_holder(
        self, claims: Mapping[str, Any], identities: Sequence[str], certificate: bytes, alone: bool
    ) -> None:
        """Raise unless the token is bound to the certificate, by its thumbprint or its name."""
        if "cnf" in claims:  # RFC 8705
            if not certificate or claims["cnf"] != {"x5t#S256": thumbprint_of(certificate)}:
                raise BadToken("it is bound to another certificate")
        elif certificate:
            if claims["sub"] not in identities:
                raise BadToken("its subject is not in the certificate")
        elif self._settings.need_certificate and not alone:
            raise BadToken("it came without a certificate")

    def _refresh(self) -> None:
        path = self._settings.keys
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SettingsError(f"the keys {path} cannot be read: {error.strerror}") from error
        if data != self._data:
            self._keys = _keys_in(data, path)
            self._data = data


def thumbprint_of(certificate: bytes) -> str:
    """Return the SHA-256 of a PEM certificate as tokens write it (`x5t#S256`, RFC 8705)."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.decode())).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _keys_in(data: bytes, path: Path) -> "dict[str, PyJWK]":
    """Return the public keys of a JWK set (RFC 7517) by name, or the one of a PEM file."""
    try:
        from jwt import PyJWK, PyJWTError
    except ImportError as error:
        raise SettingsError("tokens need PyJWT: pip install 'isthmus[tokens]'") from error
    try:
        if data.lstrip().startswith(b"{"):
            found = {str(jwk.get("kid", "")): jwk for jwk in json.loads(data)["keys"]}
        else:
            found = {"": _jwk_of_pem(data)}
        if any(_PRIVATE in jwk or jwk["kty"] == "oct" for jwk in found.values()):
            raise SettingsError(f"{path} holds a secret: a node needs public keys alone")
        keys = {name: PyJWK(jwk) for name, jwk in found.items()}
    except (PyJWTError, LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise SettingsError(f"{path} holds no public keys, as a JWK set or in PEM form") from error
    if not keys:
        raise SettingsError(f"{path} holds no key")
    return keys


def _jwk_of_pem(data: bytes) -> dict[str, Any]:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

    key: Any = load_pem_public_key(data)
    if isinstance(key, RSAPublicKey):
        return dict(RSAAlgorithm.to_jwk(key, as_dict=True))
    kind = ECAlgorithm if hasattr(key, "curve") else OKPAlgorithm
    return dict(kind.to_jwk(key, as_dict=True))
