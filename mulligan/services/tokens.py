"""Tokens: signed by mulligan-iam, verified offline by everyone with the keys from the log."""

import base64
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mulligan.errors import Unauthenticated
from mulligan.handlers.account import SigningKey
from mulligan.handlers.authority import SessionClaims
from mulligan.model import AccountId, ProjectId, RegionName, new_id
from mulligan.services.caller import Caller

ACCESS_LIFE = timedelta(minutes=15)
REFRESH_LIFE = timedelta(hours=12)
ALGORITHM = "EdDSA"
ISSUER = "mulligan"
_LEEWAY = timedelta(seconds=5)
MAX_SEEN = 1024
"""So many verified tokens are remembered, the oldest forgotten first."""


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


class KeyRing:
    """The public keys of a region: verifies tokens without asking anybody."""

    def __init__(self, region: RegionName) -> None:
        self._region = region
        self._keys: dict[str, tuple[SigningKey, Ed25519PublicKey]] = {}
        self._seen: OrderedDict[tuple[str, str], tuple[str, Mapping[str, Any]]] = OrderedDict()

    def add(self, key: SigningKey) -> None:
        """Trust a key, or take its newer state."""
        self._keys[key.kid] = (key, Ed25519PublicKey.from_public_bytes(_unbase64(key.x)))
        self._seen.clear()

    @property
    def keys(self) -> list[SigningKey]:
        """Every key known, in the order they came."""
        return [key for key, _ in self._keys.values()]

    def knows(self, kid: str) -> bool:
        """Whether the key is here."""
        return kid in self._keys

    def verify(self, token: str, use: str, now: datetime) -> Mapping[str, Any]:
        """Return the token's claims; raise Unauthenticated saying what is wrong with it.

        What was verified once is remembered by the whole token; its times are looked at every time.
        """
        kid, claims = self._seen.get((token, use)) or self._verified(token, use)
        key, _ = self._keys[kid]
        if key.honoured_until is not None and now > key.honoured_until:
            raise Unauthenticated("the key that signed this token is retired; log in again")
        if now - _LEEWAY > _time(claims["exp"]):
            raise Unauthenticated("the token has expired; log in again")
        if now + _LEEWAY < _time(claims["iat"]):
            raise Unauthenticated("the token is from the future; check this machine's clock")
        return claims

    def seen(self, token: str, use: str) -> bool:
        """Whether the token's signature was verified before."""
        return (token, use) in self._seen

    def _verified(self, token: str, use: str) -> tuple[str, Mapping[str, Any]]:
        key, public = self._key_of(token)
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                public,
                algorithms=[ALGORITHM],
                audience=f"{self._region}/{use}",
                issuer=ISSUER,
                options={
                    "require": ["exp", "iat", "sub", "aud"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidAudienceError as error:
            raise Unauthenticated("this token is for another region or use; log in here") from error
        except jwt.InvalidTokenError as error:
            raise Unauthenticated(f"the token is not valid: {error}") from error
        self._seen[token, use] = key.kid, claims
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        return key.kid, claims

    def _key_of(self, token: str) -> tuple[SigningKey, Ed25519PublicKey]:
        kid = kid_of(token)
        if kid not in self._keys:
            raise Unauthenticated("the token is signed with a key this region does not know")
        return self._keys[kid]


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
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
