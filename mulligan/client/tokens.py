"""Tokens and positions that outlive one command, cached by context under ``~/.cache``."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from mulligan.client.files import write_private

POSITION_LIFE = 60.0
"""Seconds for which a later command still waits to read what an earlier one wrote."""


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What a login gave. ``expires_at`` and ``obtained_at`` are seconds since the epoch."""

    access: str
    refresh: str = ""
    obtained_at: float = 0.0
    expires_at: float = 0.0
    account: str = ""
    project: str = ""

    def __repr__(self) -> str:
        return f"Tokens(account={self.account!r}, project={self.project!r})"

    def is_fresh(self, now: float) -> bool:
        """Tell whether more than a tenth of the token's life (at most a minute) is left."""
        spare = min(60.0, (self.expires_at - self.obtained_at) / 10)
        return now < self.expires_at - spare


class Cached(msgspec.Struct, frozen=True, kw_only=True):
    """One cache file: tokens for one account and scope, and the positions last seen."""

    login: str = ""
    tokens: Tokens | None = None
    positions: dict[str, int] = {}
    positions_at: float = 0.0


class TokenCache(msgspec.Struct, frozen=True):
    """The cache file of one context. An unreadable one counts as empty."""

    path: Path | None

    @classmethod
    def at(cls, name: str, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the cache of the context called ``name``."""
        base = environ.get("XDG_CACHE_HOME")
        folder = Path(base) if base else Path.home() / ".cache"
        slug = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
        # Contexts of another config file may have the same name.
        config = environ.get("MULLIGAN_CONFIG", "")
        suffix = f"-{_digest(config)[:8]}" if config else ""
        return cls(folder / "mulligan" / "tokens" / f"{slug}{suffix}.json")

    @classmethod
    def none(cls) -> Self:
        """Return a cache that keeps nothing."""
        return cls(None)

    def sibling(self, name: str) -> Self:
        """Return the cache of another context of the same user."""
        return self if self.path is None else self.at(name)

    def beside(self, name: str) -> Self:
        """Return the cache of what belongs to this context and is kept apart, such as a region."""
        if self.path is None:
            return self
        slug = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
        return type(self)(self.path.with_name(f"{self.path.stem}@{slug}.json"))

    def load(self) -> Cached:
        """Read what is cached."""
        if self.path is None:
            return Cached()
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Cached)
        except (OSError, msgspec.DecodeError):
            return Cached()

    def store(self, cached: Cached) -> None:
        """Keep ``cached``; a folder that cannot be written is no reason to fail a command."""
        if self.path is None:
            return
        try:
            write_private(self.path, msgspec.json.encode(cached).decode())
        except OSError:
            return

    def forget(self) -> None:
        """Remove the file."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _digest(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()
