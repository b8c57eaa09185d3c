"""Keys and tokens for tests, made by hand where the library would refuse to."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "cloud-1.example"


class Issuer:
    """Issues tokens with one key of each kind, and writes the public ones to files."""

    def __init__(self, folder: Path) -> None:
        self.keys: dict[str, Any] = {
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "RS256": rsa.generate_private_key(65537, 2048),
        }
        self.folder = folder

    def jwks(self, *kinds: str, name: str = "keys.json", **more: Any) -> Path:
        path = self.folder / name
        found = [self._jwk(kind) for kind in kinds or self.keys]
        path.write_text(json.dumps({"keys": found, **more}))
        return path

    def pem(self, kind: str = "EdDSA") -> Path:
        path = self.folder / "keys.pem"
        public = self.keys[kind].public_key()
        path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return path

    def token(
        self, kind: str = "EdDSA", *, kid: str | None = "", key: Any = None, **claims: Any
    ) -> str:
        """Return a token for app.example, valid for five minutes unless the claims say more."""
        headers = {} if kid is None else {"kid": kid or kind}
        return jwt.encode(
            self.claims(**claims), key or self.keys[kind], algorithm=kind, headers=headers
        )

    @staticmethod
    def claims(**claims: Any) -> dict[str, Any]:
        known = {"sub": "app.example", "aud": AUDIENCE, "exp": int(time.time()) + 300, **claims}
        return {name: value for name, value in known.items() if value is not None}

    def forged(self, header: dict[str, Any], key: bytes | None = None) -> str:
        """Return a token of right claims under any header, signed by HMAC or not at all."""
        parts = [self._part(header), self._part(self.claims())]
        signed = ".".join(parts).encode()
        mac = hmac.new(key, signed, hashlib.sha256).digest() if key else b""
        return ".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=").decode()])

    @staticmethod
    def _part(words: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(words).encode()).rstrip(b"=").decode()

    def _jwk(self, kind: str) -> dict[str, Any]:
        forms: dict[str, Any] = {"EdDSA": OKPAlgorithm, "ES256": ECAlgorithm, "RS256": RSAAlgorithm}
        return {**forms[kind].to_jwk(self.keys[kind].public_key(), as_dict=True), "kid": kind}


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    """Issues tokens."""
    return Issuer(tmp_path)
