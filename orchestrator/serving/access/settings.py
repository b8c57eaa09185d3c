"""The access file of a node: which identity has which roles, and what a role may do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from orchestrator.settings.values import ClearanceSetting, Section

Algorithm = Literal["EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256"]
"""How a token may be signed: by a key pair always, so that whoever checks cannot sign."""


class TokenSettings(Section):
    """Which bearer tokens (JSON Web Tokens, RFC 7519) a node takes."""

    keys: Path
    audience: str = Field(min_length=1)
    issuer: str = ""
    algorithms: tuple[Algorithm, ...] = Field(("EdDSA", "ES256", "RS256"), min_length=1)
    need_certificate: bool = True


class Role(Section):
    """What those who have it may do; nothing that is not said here."""

    invoke: tuple[str, ...] = ()
    describe: bool = True
    metrics: bool = False
    manage_models: bool = False
    calls_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    burst: int | None = Field(default=None, ge=1)
    concurrency: int | None = Field(default=None, ge=1)
    clearance: ClearanceSetting | None = None

    @model_validator(mode="after")
    def _check(self) -> "Role":
        if self.burst is not None and self.calls_per_second is None:
            raise ValueError("burst is that of calls_per_second: give that, too")
        return self


class AccessSettings(Section):
    """Everything that an access file says."""

    tokens: TokenSettings | None = None
    metrics_need_token: bool = False
    roles: Mapping[str, Role]
    identities: Mapping[str, tuple[str, ...]]

    @model_validator(mode="after")
    def _check(self) -> "AccessSettings":
        named = {role for roles in self.identities.values() for role in roles}
        if unknown := sorted(named - self.roles.keys()):
            raise ValueError(f"there is no role {', '.join(unknown)}: add it to roles")
        if self.metrics_need_token and self.tokens is None:
            raise ValueError("metrics_need_token needs tokens: say where their keys are")
        return self
