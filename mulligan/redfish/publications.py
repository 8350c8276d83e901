"""What the media server gives out: images and seeds by token, kept over restarts, bounded.

Each publication is a small file under its token; a seed's content is a second one, readable by the
owner alone, for it holds a tenant's user data.
"""

import os
import time
from pathlib import Path
from typing import Literal

import msgspec

from mulligan.redfish.faults import BmcFault
from mulligan.redfish.tokens import TokenMaker

_STALE_S = 24 * 3600
"""Seeds that nobody withdrew in so many seconds go when there is no room for another.

They were read at boot. Images never go by themselves: a system may run from one for months.
"""

_LEFT_OVER_S = 60.0
"""A seed without a record is removed at a start when it is older than so many seconds."""


class PublicationLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be published at once: in number, and bytes of seeds."""

    number: int = 100_000
    seed_bytes: int = 1 << 30


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """One published file. An image is found by its ``sha256``, a seed by its token.

    ``attempt`` is the action it was published for; ``at`` is in seconds since the epoch.
    """

    kind: Literal["image", "seed"]
    name: str
    attempt: str
    machine: str = ""
    operation: str = ""
    image_url: str = ""
    sha256: str = ""
    size: int = 0
    at: int = 0

    def purpose(self) -> tuple[str, ...]:
        """Return what its token is made of."""
        if self.kind == "seed":
            return ("seed", self.machine, self.operation, self.attempt)
        return ("image", self.attempt, self.image_url, self.sha256)


class Publications:
    """The publications of one media server, in ``folder``; call ``load`` first."""

    def __init__(
        self, folder: Path, tokens: TokenMaker, limits: PublicationLimits | None = None
    ) -> None:
        self._records = folder / "published"
        self._seeds = folder / "seeds"
        self._tokens = tokens
        self._limits = limits or PublicationLimits()
        self._known: dict[str, Publication] = {}
        self._machines: dict[str, set[str]] = {}
        self._seed_bytes = 0

    def load(self) -> None:
        """Publish again what was published before a restart, under the same secret only."""
        for folder in (self._records, self._seeds):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        for path in self._records.iterdir():
            what = _read(path)
            if what is not None and self._is_whole(path.name, what):
                self._note(path.name, what)
            else:
                path.unlink(missing_ok=True)
        for path in self._seeds.iterdir():
            if path.name not in self._known and _is_old(path):
                path.unlink(missing_ok=True)

    def _is_whole(self, token: str, what: Publication) -> bool:
        if not self._tokens.verifies(token, *what.purpose()):
            return False
        return what.kind == "image" or self.seed_path(token).is_file()

    def find(self, token: str) -> Publication | None:
        """Return what is published under a token, if anything is."""
        return self._known.get(token)

    def seed_path(self, token: str) -> Path:
        """Return where the content of a published seed is."""
        return self._seeds / token

    def token(self, what: Publication) -> str:
        """Return the token of a publication, whether or not it was added."""
        return self._tokens.make(*what.purpose())

    def add(self, what: Publication, content: bytes = b"") -> str:
        """Publish, once, and return the token. Raise ``disk-full`` when too much is published."""
        token = self.token(what)
        if token in self._known:
            return token
        what = msgspec.structs.replace(what, size=len(content), at=int(time.time()))
        self._make_room(len(content))
        try:
            if what.kind == "seed":
                _write(self.seed_path(token), content)
            _write(self._records / token, msgspec.json.encode(what))
        except OSError as error:
            raise BmcFault("disk-full", f"cannot publish {what.name}: {error.strerror}") from error
        self._note(token, what)
        return token

    def _make_room(self, size: int) -> None:
        before = int(time.time()) - _STALE_S
        if self._is_full(size):
            for token, what in list(self._known.items()):
                if what.kind == "seed" and what.at < before:
                    self.withdraw(token)
        if self._is_full(size):
            raise BmcFault(
                "disk-full",
                f"{len(self._known)} files are published already, with {self._seed_bytes} bytes "
                "of seeds",
            )

    def _is_full(self, size: int) -> bool:
        return (
            len(self._known) >= self._limits.number
            or self._seed_bytes + size > self._limits.seed_bytes
        )

    def withdraw(self, token: str) -> bool:
        """Forget a publication and a seed's content; tell whether there was one. Idempotent."""
        what = self._known.pop(token, None)
        if what is None:
            return False
        self._seed_bytes -= what.size
        theirs = self._machines.get(what.machine, set())
        theirs.discard(token)
        if not theirs:
            self._machines.pop(what.machine, None)
        (self._records / token).unlink(missing_ok=True)
        if what.kind == "seed":
            self.seed_path(token).unlink(missing_ok=True)
        return True

    def of_machine(self, machine: str) -> list[str]:
        """Return the tokens of what is published for a machine."""
        return sorted(self._machines.get(machine, ()))

    def checksums(self) -> set[str]:
        """Return the sha256 of every published image."""
        return {what.sha256 for what in self._known.values() if what.kind == "image"}

    def _note(self, token: str, what: Publication) -> None:
        self._known[token] = what
        self._seed_bytes += what.size
        if what.machine:
            self._machines.setdefault(what.machine, set()).add(token)


def _is_old(path: Path) -> bool:
    """Tell whether a file is left over, rather than about to be published by another process."""
    try:
        return path.stat().st_mtime < time.time() - _LEFT_OVER_S
    except FileNotFoundError:
        return False


def _read(path: Path) -> Publication | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Publication)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one go; nobody but the owner may read it."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    fresh.replace(path)
