"""The secret store: BMC passwords, signing keys, hashed logins, sealed before they leave us.

Envelope encryption with AES-256-GCM: each secret has a data key of its own, which the master key
wraps. Both seals bind the region, kind, id and version, so a sealed secret that is moved to
another place no longer opens. Events and errors name a version, never a secret.

Which master keys seal no more is written beside the secrets, as the *fence*. A secret is stored
only while the fence is as its writer knew it, so once ``fence_off`` returns, nothing is sealed with
an older key by any process, whatever keys that was given.
"""

import hmac
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, NoReturn

import anyio
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mulligan.errors import (
    BadConfiguration,
    Conflict,
    Corrupt,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from mulligan.master_key import (
    MasterKeyError,
    MasterKeys,
    load_master_keys,
    make_master_key,
    seal,
    unseal,
    write_master_key,
)
from mulligan.model import RegionName, is_uuid, new_id
from mulligan.secret_kv import MemorySecretKv, SecretKv
from mulligan.trial import is_trial, refuse_in_trial

__all__ = [
    "MAX_SECRET_BYTES", "MasterKeyError", "MasterKeys", "MemorySecretKv", "Name", "Secret",
    "SecretKv", "SecretStore", "load_master_keys", "make_master_key", "write_master_key",
]  # fmt: skip

MAX_SECRET_BYTES = 64 * 1024
PAGE = 256
"""So many names are read at once."""

RELOAD_S = 5.0
"""For one unknown key the master keys are read again at most so often."""

_FENCE = "fence"
_MAX_FENCED = 1024
_MAX_REASONS = 8
_TRIES = 5

log = logging.getLogger(__name__)


class Name(NamedTuple):
    """What names one sealed secret."""

    kind: str
    id: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id} version {self.version}"


Reload = Callable[[], Awaitable[MasterKeys]]


class Secret:
    """A secret in the clear. Only ``reveal`` shows it: not repr, str, format, pickle or copy."""

    __slots__ = ("_plaintext",)

    def __init__(self, plaintext: bytes) -> None:
        self._plaintext = plaintext

    def reveal(self) -> bytes:
        """Return the plaintext."""
        return self._plaintext

    def __repr__(self) -> str:
        return "Secret(<redacted>)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.reveal(), other.reveal())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not to be pickled or copied")


class SecretStore:
    """Versioned secrets of one region, by kind and id; every call ends within ``deadline`` s.

    A secret under a master key that is not held makes the store read the keys again by ``reload``.
    """

    def __init__(
        self,
        region: RegionName,
        keys: MasterKeys,
        kv: SecretKv,
        deadline: float = 10.0,
        reload: Reload | None = None,
    ) -> None:
        self._region = region
        self._keys = keys
        self._kv = kv
        self._deadline = deadline
        self._reload = reload
        self._reloading = anyio.Lock()
        self._reloaded_at = float("-inf")
        self._reloaded_for: set[str] = set()
        self._fence: bytes | None = None

    async def put(self, kind: str, id: str, plaintext: bytes) -> str:
        """Store a new version beside the older ones and return its name (a UUIDv7).

        A dry run stores none, and gets a name all the same.
        """
        if len(plaintext) > MAX_SECRET_BYTES:
            raise InvalidArgument("secret", f"is longer than {MAX_SECRET_BYTES} bytes")
        version = new_id()
        key = _path(kind, id, version)
        if is_trial():
            return version
        bound = self._bound(key)
        data_key = AESGCM.generate_key(256)
        box = seal(AESGCM(data_key), plaintext, b"secret\0" + bound)
        with _within(self._deadline):
            for _ in range(_TRIES):
                value = self._wrapped(await self._sealing_key(), data_key, box, bound)
                if await self._kv.put_while(key, value, _FENCE, self._fence):
                    return version
                self._fence = await self._kv.get(_FENCE)
        raise Conflict("the master keys are being changed; try again")

    async def get(self, kind: str, id: str, version: str) -> Secret:
        """Return one version; raise NotFound if it is gone, Corrupt if it does not open."""
        key = _path(kind, id, version)
        with _within(self._deadline):
            value = await self._kv.get(key)
            if value is None:
                raise NotFound(f"{kind} secret", f"{id} version {version}")
            sealed, data_key = await self._opened(key, value)
        try:
            return Secret(unseal(AESGCM(data_key), sealed.box, b"secret\0" + self._bound(key)))
        except (InvalidTag, ValueError):
            raise _unopened(key) from None

    async def names(self, kind: str = "") -> AsyncGenerator[Name, None]:
        """Yield the name of every sealed secret, of one kind or of all, a page read at a time."""
        prefix = f"{kind}/" if kind else ""
        after = ""
        while True:
            with _within(self._deadline):
                keys = await self._kv.keys(prefix, after, PAGE)
            for key in keys:
                parts = key.split("/")
                if len(parts) == 3:
                    yield Name(*parts)
            if len(keys) < PAGE:
                return
            after = keys[-1]

    @property
    def newest_key(self) -> str:
        """The id of the newest master key at hand; it tells nothing of the key."""
        return self._keys.newest()

    async def fence_off(self) -> str:
        """Let no process seal with another than the newest master key; return that one's id.

        Reads the keys again first; raise BadConfiguration if that fails.
        """
        if self._reload is not None:
            self._keys = await self._reload()
        with _within(self._deadline):
            for _ in range(_TRIES):
                before = self._fence = await self._kv.get(_FENCE)
                current = await self._sealing_key()
                fenced = _fenced(before)
                older = [id for id in self._keys.ids if id != current and id not in fenced]
                if not older:
                    return current
                fence = msgspec.json.encode([*fenced, *older][-_MAX_FENCED:])
                if await self._kv.put_while(_FENCE, fence, _FENCE, before):
                    self._fence = fence
                    return current
        raise Conflict("the master keys are being changed by another rekeying; try again")

    async def rewrap(self, name: Name) -> bool:
        """Wrap a secret's key with the newest master key; tell whether that changed anything.

        A secret that was deleted meanwhile stays deleted. Raise Corrupt if it does not open.
        """
        key = _path(*name)
        with _within(self._deadline):
            for _ in range(_TRIES):
                value = await self._kv.get(key)
                if value is None:
                    return False
                current = await self._sealing_key()
                sealed, data_key = await self._opened(key, value)
                if sealed.master == current:
                    return False
                rewrapped = self._wrapped(current, data_key, sealed.box, self._bound(key))
                if await self._kv.replace(key, value, rewrapped):
                    return True
        raise Conflict(f"{name} keeps changing; try again")

    async def _sealing_key(self) -> str:
        newest = self._keys.newest(but=_fenced(self._fence))
        if not newest:
            await self._reload_keys(f"fence {len(_fenced(self._fence))}")
            newest = self._keys.newest(but=_fenced(self._fence))
        if not newest:
            raise Unavailable(
                "every master key that this process holds was replaced: give it the newest one,"
                " on the first line of secrets.key_file",
                RELOAD_S,
            )
        return newest

    def _wrapped(self, master: str, data_key: bytes, box: bytes, bound: bytes) -> bytes:
        wrapped = self._keys.seal(master, data_key, b"key\0" + bound)
        return msgspec.json.encode(_Sealed(master=master, wrapped=wrapped, box=box))

    async def _opened(self, key: str, value: bytes) -> "tuple[_Sealed, bytes]":
        """Return what is stored and its data key."""
        try:
            sealed = msgspec.json.decode(value, type=_Sealed)
            if not self._keys.holds(sealed.master):
                await self._reload_keys(sealed.master)
            if not self._keys.holds(sealed.master):
                raise Corrupt(
                    f"{key} is sealed with master key {sealed.master}, which is not ours: bring"
                    " that key back, as a further line of secrets.key"
                )
            bound = b"key\0" + self._bound(key)
            return sealed, self._keys.open(sealed.master, sealed.wrapped, bound)
        except (InvalidTag, msgspec.MsgspecError, ValueError):
            raise _unopened(key) from None

    async def _reload_keys(self, reason: str) -> None:
        """Read the master keys again, unless that was done for this reason a moment ago."""
        if self._reload is None:
            return
        async with self._reloading:
            if anyio.current_time() >= self._reloaded_at + RELOAD_S:
                self._reloaded_for.clear()
            if reason in self._reloaded_for or len(self._reloaded_for) >= _MAX_REASONS:
                return
            self._reloaded_for.add(reason)
            self._reloaded_at = anyio.current_time()
            try:
                self._keys = await self._reload()
            except BadConfiguration as error:
                log.warning("the master keys cannot be read again: %s", error.message)

    async def retire(self, kind: str, id: str, version: str) -> None:
        """Delete one version; nothing happens if it is gone already, or in a dry run."""
        if is_trial():  # what it means is what ``put`` has not stored
            return
        with _within(self._deadline):
            await self._kv.delete(_path(kind, id, version))

    async def delete(self, kind: str, id: str) -> None:
        """Delete every version, which makes all that was sealed with them unreadable."""
        refuse_in_trial("destroy a secret")
        with _within(self._deadline):
            await self._kv.delete(_folder(kind, id))

    def _bound(self, key: str) -> bytes:
        return f"mulligan.secret.v1\0{self._region}\0{key}".encode()

    def __repr__(self) -> str:
        return f"SecretStore(region={self._region!r}, keys=<redacted>)"


class _Sealed(msgspec.Struct, frozen=True, kw_only=True):
    master: str
    wrapped: bytes
    box: bytes


def _fenced(fence: bytes | None) -> Sequence[str]:
    return msgspec.json.decode(fence, type=list[str]) if fence is not None else ()


def _unopened(key: str) -> Corrupt:
    return Corrupt(f"{key} does not open: it was changed, moved, or cut short")


def _folder(kind: str, id: str) -> str:
    for field, part in (("kind", kind), ("id", id)):
        if not part or "/" in part or "\0" in part:
            raise InvalidArgument(field, "must be neither empty nor hold a slash")
    return f"{kind}/{id}/"


def _path(kind: str, id: str, version: str) -> str:
    if not is_uuid(version):
        raise InvalidArgument("version", "is not the name of a version, which is a UUID")
    return _folder(kind, id) + version


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError:
        raise DeadlineExceeded(f"the secret store did not answer in {seconds:g} s") from None
