import logging
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.core.errors import AccessDenied
from orchestrator.serving.access.access import Access, Credentials
from orchestrator.serving.access.settings import AccessSettings
from orchestrator.testing import ManualClock

if TYPE_CHECKING:
    from tests.orchestrator.serving.access.conftest import Issuer

ROLES = {"inbox": {"invoke": ["embed*"]}, "operator": {"metrics": True}}
NAMES = {
    "app.example": ["inbox"],
    "spiffe://a/b": ["inbox"],
    "ops": ["operator"],
    "nobody": [],
}


def access(clock: ManualClock | None = None, **more: Any) -> Access:
    settings = AccessSettings.model_validate({"roles": ROLES, "identities": NAMES, **more})
    return Access(settings, clock or ManualClock())


@pytest.mark.parametrize(
    ("identities", "guest"),
    [
        (["app.example"], "app.example"),
        (["other.example", "app.example"], "app.example"),
        (["spiffe://a/b"], "spiffe://a/b"),
        ([], None),
        (["other.example"], None),
        (["app.example", "spiffe://a/b"], None),  # whose limits?
        (["APP.example"], None),
        (["nobody"], None),
        (["*"], None),
    ],
)
def test_a_guest_is_known_by_its_certificate(identities: list[str], guest: str | None) -> None:
    if guest:
        assert access().visit(Credentials(identities)).guest.name == guest
    else:
        with pytest.raises(AccessDenied, match="the caller has no role at this node") as caught:
            access().visit(Credentials(identities))
        assert caught.value.shareable
        assert caught.value.retry == "never"


def test_all_visits_of_an_identity_share_its_limits() -> None:
    known = access()
    one, two = (known.visit(Credentials(["app.example"])) for _ in range(2))
    assert one.guest is two.guest
    assert one.expires is None


def test_a_token_counts_and_the_certificate_only_binds_it(issuer: "Issuer") -> None:
    tokens = {"keys": issuer.jwks(), "audience": "cloud-1.example", "need_certificate": False}
    known = access(tokens=tokens)
    visit = known.visit(Credentials(authorization=f"Bearer {issuer.token(sub='ops')}"))
    assert visit.guest.name == "ops"
    assert visit.expires
    for bad in ("Bearer x", "Bearer", "bearer ", f"Basic {issuer.token()}", issuer.token()):
        with pytest.raises(AccessDenied, match="no role"):  # though the certificate alone is known
            known.visit(Credentials(["app.example"], b"", bad))
    assert known.visit(Credentials(["app.example"])).guest.name == "app.example"  # the control


def test_without_keys_no_token_is_taken(issuer: "Issuer") -> None:
    with pytest.raises(AccessDenied):
        access().visit(Credentials(["app.example"], b"", f"Bearer {issuer.token()}"))


def test_metrics_are_for_whoever_may_read_them(issuer: "Issuer") -> None:
    tokens = {"keys": issuer.jwks(), "audience": "cloud-1.example"}
    closed = access(tokens=tokens, metrics_need_token=True)
    assert closed.reads_metrics(f"Bearer {issuer.token(sub='ops')}")
    for shown in ("", "Bearer x", f"Bearer {issuer.token()}", f"Bearer {issuer.token(sub='x')}"):
        assert not closed.reads_metrics(shown)
    assert access(tokens=tokens).reads_metrics("")


def test_refusals_are_logged_once_a_second_and_without_the_token(
    issuer: "Issuer", caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    known = access(clock, tokens={"keys": issuer.jwks(), "audience": "cloud-1.example"})
    caplog.set_level(logging.WARNING)
    token = issuer.token(sub="canary-77")
    for _ in range(3):
        with pytest.raises(AccessDenied):
            known.visit(Credentials(authorization=f"Bearer {token}"))
    assert len(caplog.records) == 1
    clock.turn(1.0)
    with pytest.raises(AccessDenied):
        known.visit(Credentials(["a\nb" * 99]))
    assert len(caplog.records) == 2
    assert "\n" not in caplog.records[1].getMessage()
    assert token not in caplog.text
    assert "canary-77" not in caplog.text
