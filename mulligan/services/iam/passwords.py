"""Account secrets: argon2id, hashed and checked off the event loop, a few at a time."""

import anyio
import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mulligan.errors import Exhausted, InvalidArgument

_AT_ONCE = 2
"""Each check takes 64 MiB and tens of milliseconds; more at once would only queue elsewhere."""

_WAITING = 64

SHORTEST, LONGEST = 8, 1024


class Passwords:
    """Hashes and verifies secrets."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self._decoy = self._hasher.hash("nobody has this secret")

    async def hash(self, secret: str, field: str = "secret") -> bytes:
        """Return the argon2id hash; raise InvalidArgument for a secret of unfit length."""
        if not SHORTEST <= len(secret) <= LONGEST:
            raise InvalidArgument(field, f"use {SHORTEST} to {LONGEST} characters")
        self._require_room()
        hashed = await anyio.to_thread.run_sync(self._hasher.hash, secret, limiter=self._limiter)
        return hashed.encode()

    async def matches(self, hashed: bytes | None, secret: str) -> bool:
        """Tell whether the secret is the hashed one; as slow where there is none to check."""
        if hashed is None:
            await self._verify(self._decoy, secret)
            return False
        return await self._verify(hashed.decode(), secret)

    def _require_room(self) -> None:
        """Raise Exhausted where too many wait already: they would all come too late."""
        if self._limiter.statistics().tasks_waiting >= _WAITING:
            raise Exhausted("too many secrets are checked at once; try again in a moment", 1.0)

    async def _verify(self, hashed: str, secret: str) -> bool:
        self._require_room()

        def check() -> bool:
            try:
                return self._hasher.verify(hashed, secret)
            except (VerificationError, InvalidHashError):
                return False

        return await anyio.to_thread.run_sync(check, limiter=self._limiter)
