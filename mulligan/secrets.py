"""The secret store: BMC passwords, signing keys, hashed logins, sealed before they leave us.

Envelope encryption with AES-256-GCM: each secret has a data key of its own, which the master key
wraps. Both seals bind the region, kind, id and version, so a sealed secret that is moved to
another place no longer opens. Events and errors name a version, never a secret.
"""

import base64
import binascii
import hashlib
import hmac
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, Protocol

import anyio
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mulligan.errors import (
    BadConfiguration,
    Corrupt,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
)
from mulligan.model import RegionName, is_uuid, new_id
from mulligan.tls import write_private

MASTER_KEY_ENV = "MULLIGAN_SECRETS_KEY"
MAX_SECRET_BYTES = 64 * 1024
_KEY_BYTES = 32
_NONCE_BYTES = 12


class SecretKv(Protocol):
    """Where sealed secrets are kept, under keys relative to the region's ``secret/`` prefix."""

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None."""
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Store the value durably before returning."""
        ...

    async def delete(self, prefix: str) -> int:
        """Delete every key that starts with ``prefix``; return how many there were."""
        ...


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


class MasterKeyError(BadConfiguration):
    """The master key cannot be used; the message says what to do and holds no key."""


class MasterKeys:
    """The master keys: the first one seals, all of them open, so a key can be rotated."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise MasterKeyError("a master key is 32 bytes; make one with `mulligan init`")
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self.current = _key_id(keys[0])

    def seal(self, data: bytes, bound: bytes) -> bytes:
        """Encrypt with the current key; the result opens with the same ``bound`` only."""
        return _seal(self._ciphers[self.current], data, bound)

    def holds(self, key_id: str) -> bool:
        """Tell whether what was sealed with this key can be opened."""
        return key_id in self._ciphers

    def open(self, key_id: str, box: bytes, bound: bytes) -> bytes:
        """Decrypt; raise InvalidTag if anything was changed."""
        return _open(self._ciphers[key_id], box, bound)

    def __repr__(self) -> str:
        return f"MasterKeys(current={self.current}, held={len(self._ciphers)}, keys=<redacted>)"


def make_master_key() -> str:
    """Make a key as a line of text, for the key file or the environment."""
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()


def write_master_key(path: Path) -> None:
    """Make a key and write it to a file of mode 0600."""
    write_private(path, f"{make_master_key()}\n".encode())


def load_master_keys(path: Path, env: Mapping[str, str]) -> MasterKeys:
    """Read the keys, one a line, newest first, from ``MULLIGAN_SECRETS_KEY`` or the file.

    Raise MasterKeyError when there is none, when one is malformed, or when the file is open to
    others than its owner.
    """
    if text := env.get(MASTER_KEY_ENV):
        return MasterKeys(_parse(text, f"${MASTER_KEY_ENV}"))
    try:
        with path.open(encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise MasterKeyError(f"{path} has mode {mode:04o}; run: chmod 0600 {path}")
            return MasterKeys(_parse(file.read(), str(path)))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a key file"
        raise MasterKeyError(
            f"{path}: {reason}; run `mulligan init`, set secrets.key_file, or set {MASTER_KEY_ENV}"
        ) from None


class SecretStore:
    """Versioned secrets of one region, by kind and id; every call ends within ``deadline`` s."""

    def __init__(
        self, region: RegionName, keys: MasterKeys, kv: SecretKv, deadline: float = 10.0
    ) -> None:
        self._region = region
        self._keys = keys
        self._kv = kv
        self._deadline = deadline

    async def put(self, kind: str, id: str, plaintext: bytes) -> str:
        """Store a new version beside the older ones and return its name (a UUIDv7)."""
        if len(plaintext) > MAX_SECRET_BYTES:
            raise InvalidArgument("secret", f"is longer than {MAX_SECRET_BYTES} bytes")
        version = new_id()
        key = _path(kind, id, version)
        bound = self._bound(key)
        data_key = AESGCM.generate_key(256)
        sealed = _Sealed(
            master=self._keys.current,
            wrapped=self._keys.seal(data_key, b"key\0" + bound),
            box=_seal(AESGCM(data_key), plaintext, b"secret\0" + bound),
        )
        with _within(self._deadline):
            await self._kv.put(key, msgspec.json.encode(sealed))
        return version

    async def get(self, kind: str, id: str, version: str) -> Secret:
        """Return one version; raise NotFound if it is gone, Corrupt if it does not open."""
        key = _path(kind, id, version)
        with _within(self._deadline):
            value = await self._kv.get(key)
        if value is None:
            raise NotFound(f"{kind} secret", f"{id} version {version}")
        try:
            sealed = msgspec.json.decode(value, type=_Sealed)
            if not self._keys.holds(sealed.master):
                raise Corrupt(f"{key} is sealed with master key {sealed.master}, which is not ours")
            bound = self._bound(key)
            data_key = self._keys.open(sealed.master, sealed.wrapped, b"key\0" + bound)
            return Secret(_open(AESGCM(data_key), sealed.box, b"secret\0" + bound))
        except (InvalidTag, msgspec.MsgspecError, ValueError):
            raise Corrupt(f"{key} does not open: it was changed, moved, or cut short") from None

    async def retire(self, kind: str, id: str, version: str) -> None:
        """Delete one version; nothing happens if it is gone already."""
        with _within(self._deadline):
            await self._kv.delete(_path(kind, id, version))

    async def delete(self, kind: str, id: str) -> None:
        """Delete every version, which makes all that was sealed with them unreadable."""
        with _within(self._deadline):
            await self._kv.delete(_folder(kind, id))

    def _bound(self, key: str) -> bytes:
        return f"mulligan.secret.v1\0{self._region}\0{key}".encode()

    def __repr__(self) -> str:
        return f"SecretStore(region={self._region!r}, keys=<redacted>)"


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


class _Sealed(msgspec.Struct, frozen=True, kw_only=True):
    master: str
    wrapped: bytes
    box: bytes


def _seal(cipher: AESGCM, data: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, data, bound)


def _open(cipher: AESGCM, box: bytes, bound: bytes) -> bytes:
    return cipher.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], bound)


def _folder(kind: str, id: str) -> str:
    for field, part in (("kind", kind), ("id", id)):
        if not part or "/" in part or "\0" in part:
            raise InvalidArgument(field, "must be neither empty nor hold a slash")
    return f"{kind}/{id}/"


def _path(kind: str, id: str, version: str) -> str:
    if not is_uuid(version):
        raise InvalidArgument("version", "is not the name of a version, which is a UUID")
    return _folder(kind, id) + version


def _parse(text: str, origin: str) -> list[bytes]:
    try:
        return [base64.b64decode(line, validate=True) for line in text.split()]
    except binascii.Error:
        raise MasterKeyError(f"{origin}: a key is 32 bytes in base64, one a line") from None


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"mulligan.master-key\0" + key).hexdigest()[:16]


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError:
        raise DeadlineExceeded(f"the secret store did not answer in {seconds:g} s") from None
