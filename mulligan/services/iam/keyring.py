"""The public keys of a region: verifies tokens without asking anybody."""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import anyio
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mulligan.commands.runner import Commands
from mulligan.errors import Unauthenticated, Unavailable
from mulligan.events.codec import Event
from mulligan.events.key import KeyCreated, KeyRetired
from mulligan.handlers.account import SigningKey, evolve_key
from mulligan.handlers.signing import key_stream
from mulligan.log.vouching import unbase64
from mulligan.model import RegionName
from mulligan.services.iam.tokens import ALGORITHM, ISSUER, LEEWAY, kid_of

MAX_SEEN = 1024
"""So many verified tokens are remembered, the oldest forgotten first."""

AHEAD = 2
"""A token may come from a key that is so many numbers ahead of the newest that is known here."""

WAIT_S = 2.0
"""So long a token's key may take to appear here after a rotation."""

MAX_WAITING = 256
_CHUNK = 64


class KeyRing:
    """The keys that sign tokens and are honoured still; ``newest`` is the last number of any key.

    A key whose time is over is forgotten when another comes.
    """

    def __init__(self, region: RegionName) -> None:
        self._region = region
        self._keys: dict[str, tuple[SigningKey, Ed25519PublicKey]] = {}
        self._seen: OrderedDict[tuple[str, str], tuple[str, Mapping[str, Any]]] = OrderedDict()
        self._grown = anyio.Event()
        self._waiting = 0
        self.newest = 0

    def add(self, key: SigningKey, now: datetime) -> None:
        """Trust a key that signs tokens, or take its newer state; forget those that are over."""
        self.newest = max(self.newest, _number(key.kid))
        if key.use == "token":
            self._keys[key.kid] = (key, Ed25519PublicKey.from_public_bytes(unbase64(key.x)))
        for kid in [kid for kid, (known, _) in self._keys.items() if is_over(known, now)]:
            del self._keys[kid]
        self._seen.clear()
        grown, self._grown = self._grown, anyio.Event()
        grown.set()

    def follow(self, kid: str, event: Event, at: datetime) -> None:
        """Take in what the log says of a key; one that is not here stays away."""
        assert isinstance(event, KeyCreated | KeyRetired)
        known, _ = self._keys.get(kid, (None, None))
        if known is not None or isinstance(event, KeyCreated):
            self.add(evolve_key(known, event, at), at)

    def keys(self, now: datetime) -> Sequence[SigningKey]:
        """Return every key whose tokens are honoured, the oldest first."""
        keys = (key for key, _ in self._keys.values() if not is_over(key, now))
        return sorted(keys, key=lambda key: _number(key.kid))

    def knows(self, kid: str) -> bool:
        """Whether the key is here."""
        return kid in self._keys

    def honours(self, kid: str, now: datetime) -> bool:
        """Whether what the key signs now would be honoured."""
        return kid in self._keys and not is_over(self._keys[kid][0], now)

    async def expect(self, kid: str) -> None:
        """Wait up to WAIT_S for a key that others may know already; return also when it stays away.

        Raise Unavailable when too many wait.
        """
        if self._waiting >= MAX_WAITING:
            raise Unavailable("too many tokens of a key that is not known here yet", 0.5)
        self._waiting += 1
        try:
            with anyio.move_on_after(WAIT_S):
                while not self.knows(kid) and self._may_appear(kid):
                    await self._grown.wait()
        finally:
            self._waiting -= 1

    def _may_appear(self, kid: str) -> bool:
        return self.newest < _number(kid) <= self.newest + AHEAD

    def verify(self, token: str, use: str, now: datetime) -> Mapping[str, Any]:
        """Return the token's claims; raise Unauthenticated saying what is wrong with it.

        What was verified once is remembered by the whole token; its times are looked at every time.
        """
        kid, claims = self._seen.get((token, use)) or self._verified(token, use)
        if is_over(self._keys[kid][0], now):
            raise Unauthenticated("the key that signed this token is retired; log in again")
        if now - LEEWAY > _time(claims["exp"]):
            raise Unauthenticated("the token has expired; log in again")
        if now + LEEWAY < _time(claims["iat"]):
            raise Unauthenticated("the token is from the future; check this machine's clock")
        return claims

    def seen(self, token: str, use: str) -> bool:
        """Whether the token's signature was verified before."""
        return (token, use) in self._seen

    def _verified(self, token: str, use: str) -> tuple[str, Mapping[str, Any]]:
        kid = kid_of(token)
        if kid not in self._keys:
            raise Unauthenticated(
                "the token is signed with a key that this region does not honour; log in again"
            )
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                self._keys[kid][1],
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
        self._seen[token, use] = kid, claims
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        return kid, claims


async def every_key(commands: Commands) -> AsyncGenerator[Sequence[SigningKey], None]:
    """Yield all keys there ever were, the oldest first, some at a time.

    Each batch is exact when it is yielded.
    """
    first = 1
    while True:
        streams = [key_stream(n) for n in range(first, first + _CHUNK)]
        found = await commands.states(streams)
        keys = [known.state for s in streams if (known := found[s]).state is not None]
        yield keys
        if len(keys) < _CHUNK:
            return
        first += _CHUNK


def is_over(key: SigningKey, now: datetime) -> bool:
    """Whether nothing that the key signed is honoured any more."""
    return key.honoured_until is not None and now >= key.honoured_until


def _number(kid: str) -> int:
    """Return the number that a key's id is, 0 if it is none."""
    plain = kid.isascii() and kid.isdecimal() and len(kid) < 10 and kid[0] != "0"
    return int(kid) if plain else 0


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
