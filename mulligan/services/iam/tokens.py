"""Tokens: signed by mulligan-iam, verified offline by everyone with the keys from the log."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mulligan.errors import Unauthenticated
from mulligan.handlers.authority import SessionClaims
from mulligan.log.vouching import unpadded
from mulligan.model import AccountId, ProjectId, RegionName, new_id
from mulligan.services.gate.caller import Caller

ACCESS_LIFE = timedelta(minutes=15)
REFRESH_LIFE = timedelta(hours=12)
ALGORITHM = "EdDSA"
ISSUER = "mulligan"
LEEWAY = timedelta(seconds=5)
"""Clocks of this region may differ by so much."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What a login and all its refreshes share; no token of it outlives ``ends``."""

    id: str
    credential: str
    began: datetime
    ends: datetime


def begin_session(credential: str, began: datetime) -> Session:
    """Return a new session, proven by ``credential``."""
    return Session(id=new_id(), credential=credential, began=began, ends=began + REFRESH_LIFE)


class Signer:
    """Signs tokens for one region with one key."""

    def __init__(self, region: RegionName, kid: str, key: Ed25519PrivateKey) -> None:
        self.kid = kid
        self._region = region
        self._key = key

    def access(
        self,
        account: str,
        project: str,
        roles: list[str],
        now: datetime,
        session: Session | None = None,
    ) -> tuple[str, datetime]:
        """Return an access token and when it expires; without a session it has one for itself."""
        session = session or begin_session("", now)
        expires = min(now + ACCESS_LIFE, session.ends)
        claims = {"sub": account, "project": project, "roles": roles, "exp": expires}
        return self._sign("access", claims, now, session), expires

    def refresh(
        self, account: str, project: str, now: datetime, session: Session | None = None
    ) -> str:
        """Return a refresh token; the roles are looked up again when it is used."""
        session = session or begin_session("", now)
        claims = {"sub": account, "project": project, "exp": session.ends}
        return self._sign("refresh", claims, now, session)

    def _sign(self, use: str, claims: Mapping[str, Any], now: datetime, session: Session) -> str:
        common = {
            "iss": ISSUER,
            "aud": f"{self._region}/{use}",
            "iat": now.timestamp(),
            "jti": new_id(),
            "sid": session.id,
            "cred": session.credential,
            "auth_time": session.began.timestamp(),
        }
        return jwt.encode(
            {**common, **claims}, self._key, algorithm=ALGORITHM, headers={"kid": self.kid}
        )


def kid_of(token: str) -> str:
    """Return the id of the key that a token says it is signed with."""
    try:
        return str(jwt.get_unverified_header(token).get("kid", ""))
    except jwt.InvalidTokenError as error:
        raise Unauthenticated("the token cannot be read; log in again") from error


def session_of(claims: Mapping[str, Any]) -> SessionClaims:
    """Return what verified claims say of the token's session."""
    return SessionClaims(
        issued_at=_time(claims.get("auth_time", claims["iat"])),
        session=str(claims.get("sid", "")),
        credential=str(claims.get("cred", "")),
        roles=frozenset(str(r) for r in claims.get("roles", ())),
        project=ProjectId(str(claims.get("project", ""))),
    )


def resumed(claims: Mapping[str, Any]) -> Session:
    """Return the session that the verified claims of a refresh token belong to."""
    said = session_of(claims)
    return Session(
        id=said.session or new_id(),
        credential=said.credential,
        began=said.issued_at,
        ends=_time(claims["exp"]),
    )


def caller_of(claims: Mapping[str, Any], traceparent: str) -> Caller:
    """Return the caller that verified claims describe, with the roles that the token was given."""
    return Caller(
        account=AccountId(str(claims["sub"])),
        project=ProjectId(str(claims.get("project", ""))),
        roles=tuple(str(r) for r in claims.get("roles", ())),
        credential=str(claims.get("cred", "")),
        session=str(claims.get("sid", "")),
        expires_at=_time(claims["exp"]),
        traceparent=traceparent,
    )


def public_half(key: Ed25519PrivateKey) -> str:
    """Return the public key as in a JSON Web Key: 32 bytes, base64url without padding."""
    return unpadded(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
