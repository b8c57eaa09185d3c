"""Which tokens are taken, and that no other is."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.warnings import InsecureKeyLengthWarning

from orchestrator.core.errors import SettingsError
from orchestrator.serving.access.settings import TokenSettings
from orchestrator.serving.access.tokens import BadToken, Bearer, TokenReader, thumbprint_of

if TYPE_CHECKING:
    from tests.conftest import Authority
    from tests.orchestrator.serving.access.conftest import Issuer

NAMES = ("app.example",)


def reader(keys: Path, **more: Any) -> TokenReader:
    return TokenReader(TokenSettings(keys=keys, audience="cloud-1.example", **more))


@pytest.fixture
def certificate(authority: "Authority") -> bytes:
    files = authority.issue("app.example")
    assert files.cert
    return files.cert.read_bytes()


@pytest.fixture
def other(authority: "Authority") -> bytes:
    files = authority.issue("other.example")
    assert files.cert
    return files.cert.read_bytes()


@pytest.mark.parametrize("kind", ["EdDSA", "ES256", "RS256"])
@pytest.mark.parametrize("form", ["set", "pem"])
def test_a_token_of_each_usual_kind_is_taken(
    kind: str, form: str, issuer: "Issuer", certificate: bytes
) -> None:
    keys = issuer.jwks() if form == "set" else issuer.pem(kind)
    until = int(time.time()) + 300
    bearer = reader(keys).read(issuer.token(kind, exp=until), NAMES, certificate)
    assert bearer == Bearer("app.example", until + 60)


@pytest.mark.parametrize(
    ("claims", "taken"),
    [
        ({}, True),
        ({"exp": -50}, True),  # within the leeway of 60 s
        ({"exp": -61}, False),
        ({"exp": None}, False),
        ({"nbf": 50}, True),
        ({"nbf": 70}, False),
        ({"iat": 70}, False),
        ({"aud": "cloud-2.example"}, False),
        ({"aud": ["cloud-2.example", "cloud-1.example"]}, True),
        ({"aud": None}, False),
        ({"sub": None}, False),
        ({"sub": "other.example"}, False),
        ({"sub": 7}, False),
        ({"cnf": {}}, False),
        ({"cnf": {"jkt": "x"}}, False),
        ({"cnf": "app.example"}, False),
    ],
)
def test_a_token_is_taken_for_what_it_claims(
    claims: dict[str, Any], taken: bool, issuer: "Issuer", certificate: bytes
) -> None:
    moments = ("exp", "nbf", "iat")
    now = int(time.time())
    given = {k: now + v if k in moments and v is not None else v for k, v in claims.items()}
    token = issuer.token("ES256", **given) if given.get("sub") != 7 else _of_number(issuer)
    if taken:
        assert reader(issuer.jwks()).read(token, NAMES, certificate).name == "app.example"
    else:
        with pytest.raises(BadToken):
            reader(issuer.jwks()).read(token, NAMES, certificate)


def _of_number(issuer: "Issuer") -> str:
    from jwt import PyJWS

    claims = json.dumps(issuer.claims(sub=7)).encode()
    return PyJWS().encode(claims, issuer.keys["ES256"], "ES256", {"kid": "ES256"})


FORGED: dict[str, Callable[["Issuer"], str]] = {
    "no signature": lambda i: i.forged({"alg": "none", "kid": "ES256"}),
    "no signature, other letters": lambda i: i.forged({"alg": "nOnE", "kid": "ES256"}),
    "hmac with the public key": lambda i: i.forged({"alg": "HS256"}, i.pem("RS256").read_bytes()),
    "hmac, named": lambda i: i.forged({"alg": "HS256", "kid": "RS256"}, i.jwks().read_bytes()),
    "another's key": lambda i: i.token("EdDSA", key=ed25519.Ed25519PrivateKey.generate()),
    "another's key, P-256": lambda i: i.token("ES256", key=ec.generate_private_key(ec.SECP256R1())),
    "another's key, RSA": lambda i: i.token("RS256", key=rsa.generate_private_key(65537, 2048)),
    "a key of another kind": lambda i: i.token("EdDSA", kid="ES256"),
    "an unknown key": lambda i: i.token(kid="EdDSA-2"),
    "no key named": lambda i: i.token(kid=None),
    "its claims changed": lambda i: _changed(i.token()),
    "cut short": lambda i: i.token()[:-5],
    "no token": lambda i: "garbage",
    "empty": lambda i: "",
    "dots": lambda i: "..",
    "not ascii": lambda i: "ä.ö.ü",
    "a bomb": lambda i: "e30" * 100_000,
    "its key inside": lambda i: i.forged({"alg": "ES256", "jwk": i._jwk("ES256")}),
}


def _changed(token: str) -> str:
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    fresh = base64.urlsafe_b64encode(json.dumps(claims | {"aud": ["cloud-1.example"]}).encode())
    return ".".join([head, fresh.rstrip(b"=").decode(), signature])


# A PEM file does not name its key, so there these are as good as any.
NAMED = {"a key of another kind", "an unknown key", "no key named"}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_token_is_refused(forgery: str, issuer: "Issuer", certificate: bytes) -> None:
    token = FORGED[forgery](issuer)
    with pytest.raises(BadToken):
        reader(issuer.jwks()).read(token, NAMES, certificate)


@pytest.mark.parametrize("forgery", sorted(FORGED.keys() - NAMED))
def test_a_forged_token_is_refused_where_keys_have_no_names(
    forgery: str, issuer: "Issuer", certificate: bytes
) -> None:
    token = FORGED[forgery](issuer)
    keys = issuer.pem("RS256" if "hmac" in forgery else "EdDSA")
    with pytest.raises(BadToken):
        reader(keys).read(token, NAMES, certificate)


def test_a_token_is_bound_to_the_certificate_it_comes_with(
    issuer: "Issuer", certificate: bytes, other: bytes
) -> None:
    read = reader(issuer.jwks()).read
    by_name, by_print = (
        issuer.token(),
        issuer.token(sub="alice", cnf={"x5t#S256": thumbprint_of(certificate)}),
    )
    assert read(by_name, NAMES, certificate).name == "app.example"
    assert read(by_print, NAMES, certificate).name == "alice"
    for token in (by_name, by_print):
        for names, shown in ((("other.example",), other), ((), b"")):
            with pytest.raises(BadToken, match="another certificate|not in the|without a cert"):
                read(token, names, shown)


def test_a_token_without_a_certificate_is_taken_where_the_settings_say_so(issuer: "Issuer") -> None:
    read = reader(issuer.jwks(), need_certificate=False).read
    assert read(issuer.token(), (), b"").name == "app.example"
    with pytest.raises(BadToken, match="bound to another certificate"):
        read(issuer.token(cnf={"x5t#S256": "x"}), (), b"")
    with pytest.raises(BadToken):  # whoever shows a certificate is bound to it
        read(issuer.token(), ("other.example",), b"PEM")


def test_an_issuer_can_be_asked_for(issuer: "Issuer", certificate: bytes) -> None:
    read = reader(issuer.jwks(), issuer="https://issuer.example").read
    assert (
        read(issuer.token(iss="https://issuer.example"), NAMES, certificate).name == "app.example"
    )
    for claims in ({}, {"iss": "https://other.example"}):
        with pytest.raises(BadToken):
            read(issuer.token(**claims), NAMES, certificate)


def test_only_the_algorithms_of_the_settings_are_taken(
    issuer: "Issuer", certificate: bytes
) -> None:
    read = reader(issuer.jwks(), algorithms=("ES256",)).read
    assert read(issuer.token("ES256"), NAMES, certificate).name == "app.example"
    with pytest.raises(BadToken):
        read(issuer.token("EdDSA"), NAMES, certificate)


def test_keys_are_read_anew_when_the_file_changes(issuer: "Issuer", certificate: bytes) -> None:
    tokens = reader(issuer.jwks("EdDSA"))
    with pytest.raises(BadToken, match="no key has its name"):
        tokens.read(issuer.token("ES256"), NAMES, certificate)
    path = issuer.jwks("ES256")
    assert tokens.read(issuer.token("ES256"), NAMES, certificate).name == "app.example"
    with pytest.raises(BadToken, match="no key has its name"):
        tokens.read(issuer.token("EdDSA"), NAMES, certificate)
    path.write_text("half writ")  # the keys that were read stay in use
    assert tokens.read(issuer.token("ES256"), NAMES, certificate).name == "app.example"


def _private_pem(issuer: "Issuer") -> bytes:
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return bytes(issuer.keys["EdDSA"].private_bytes(*form))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda i: b"", "no public keys"),
        (lambda i: b"{}", "no public keys"),
        (lambda i: b'{"keys": []}', "holds no key"),
        (lambda i: b'{"keys": [{}]}', "no public keys"),
        (lambda i: b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "holds a secret"),
        (lambda i: b'{"keys": [{"kty": "RSA", "alg": "none", "n": "AQ", "e": "AQ"}]}', "no public"),
        (_private_pem, "no public keys"),
    ],
)
def test_a_file_without_public_keys_is_a_settings_error(
    data: Callable[["Issuer"], bytes], said: str, issuer: "Issuer", tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    path.write_bytes(data(issuer))
    with pytest.raises(SettingsError, match=said):
        reader(path)


def test_a_private_key_in_a_set_is_refused(issuer: "Issuer") -> None:
    from jwt.algorithms import ECAlgorithm

    path = issuer.folder / "private.json"
    path.write_text(json.dumps({"keys": [ECAlgorithm.to_jwk(issuer.keys["ES256"], as_dict=True)]}))
    with pytest.raises(SettingsError, match="holds a secret: a node needs public keys alone"):
        reader(path)


def test_a_file_of_keys_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"keys\.json cannot be read: No such file"):
        reader(tmp_path / "keys.json")


def test_a_short_rsa_key_is_not_trusted(issuer: "Issuer", certificate: bytes) -> None:
    issuer.keys["RS256"] = rsa.generate_private_key(65537, 1024)
    with pytest.warns(InsecureKeyLengthWarning):
        token = issuer.token("RS256")
    with pytest.raises(BadToken):
        reader(issuer.pem("RS256")).read(token, NAMES, certificate)


def test_the_reason_holds_nothing_of_the_token(issuer: "Issuer", certificate: bytes) -> None:
    canary = "canary-5d0a"
    for token in (issuer.token(sub=canary), issuer.token(aud=canary), issuer.token(kid=canary)):
        with pytest.raises(BadToken) as caught:
            reader(issuer.jwks()).read(token, NAMES, certificate)
        assert canary not in str(caught.value)
        assert caught.value.__cause__ is None
