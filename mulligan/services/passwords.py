"""Account secrets: argon2id, hashed and checked off the event loop, a few at a time."""

import anyio
import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mulligan.errors import InvalidArgument

_AT_ONCE = 2
"""Each check takes 64 MiB and tens of milliseconds; more at once would only queue elsewhere."""

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
        hashed = await anyio.to_thread.run_sync(self._hasher.hash, secret, limiter=self._limiter)
        return hashed.encode()

    async def matches(self, hashed: bytes | None, secret: str) -> bool:
        """Tell whether the secret is the hashed one; as slow where there is none to check."""
        if hashed is None:
            await self._verify(self._decoy, secret)
            return False
        return await self._verify(hashed.decode(), secret)

    async def _verify(self, hashed: str, secret: str) -> bool:
        def check() -> bool:
            try:
                return self._hasher.verify(hashed, secret)
            except (VerificationError, InvalidHashError):
                return False

        return await anyio.to_thread.run_sync(check, limiter=self._limiter)
