"""What the secret store needs of the place where it keeps what it sealed."""

from collections.abc import Sequence
from typing import Protocol


class SecretKv(Protocol):
    """Where sealed secrets are kept, under keys relative to the region's ``secret/`` prefix."""

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None."""
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Store the value durably before returning."""
        ...

    async def put_while(self, key: str, value: bytes, held: str, at: bytes | None) -> bool:
        """Store the value if the key ``held`` still has the value ``at``; tell whether."""
        ...

    async def replace(self, key: str, old: bytes, new: bytes) -> bool:
        """Store ``new`` if the value is still ``old``; tell whether."""
        ...

    async def delete(self, prefix: str) -> int:
        """Delete every key that starts with ``prefix``; return how many there were."""
        ...

    async def keys(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        """Return the first keys that start with ``prefix`` and come after ``after``, in order."""
        ...


class MemorySecretKv:
    """``SecretKv`` in a dictionary; its sealed ``values`` are there for tests to look at."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None."""
        return self.values.get(key)

    async def put(self, key: str, value: bytes) -> None:
        """Store the value."""
        self.values[key] = value

    async def delete(self, prefix: str) -> int:
        """Delete every key that starts with ``prefix``."""
        found = [key for key in self.values if key.startswith(prefix)]
        for key in found:
            del self.values[key]
        return len(found)

    async def put_while(self, key: str, value: bytes, held: str, at: bytes | None) -> bool:
        """Store the value if the key ``held`` still has the value ``at``."""
        if self.values.get(held) != at:
            return False
        self.values[key] = value
        return True

    async def replace(self, key: str, old: bytes, new: bytes) -> bool:
        """Store ``new`` if the value is still ``old``."""
        return await self.put_while(key, new, key, old)

    async def keys(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        """Return the next keys."""
        return sorted(k for k in self.values if k.startswith(prefix) and k > after)[:limit]
