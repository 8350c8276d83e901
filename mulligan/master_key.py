"""Master keys wrap the key of each secret; they come from a command, the environment or a file.

No message names anything of a key, and none repeats what a command printed.
"""

import base64
import binascii
import hashlib
import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mulligan.errors import BadConfiguration
from mulligan.tls import write_private

MASTER_KEY_ENV = "MULLIGAN_SECRETS_KEY"
COMMAND_S = 10.0
"""So long a key command may take."""

_KEY_BYTES = 32
_NONCE_BYTES = 12
_MAX_OUTPUT = 64 * 1024


class MasterKeyError(BadConfiguration):
    """The master key cannot be used; the message says what to do and holds no key."""


class MasterKeys:
    """The master keys, newest first: the newest seals, all of them open."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise MasterKeyError("a master key is 32 bytes; make one with `mulligan init`")
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}

    @property
    def ids(self) -> Sequence[str]:
        """The ids of the keys, newest first; an id tells nothing of its key."""
        return tuple(self._ciphers)

    def newest(self, but: Collection[str] = ()) -> str:
        """Return the id of the newest key that is not among ``but``, empty without one."""
        return next((id for id in self._ciphers if id not in but), "")

    def seal(self, key_id: str, data: bytes, bound: bytes) -> bytes:
        """Encrypt with a key; the result opens with the same ``bound`` only."""
        return seal(self._ciphers[key_id], data, bound)

    def holds(self, key_id: str) -> bool:
        """Tell whether what was sealed with this key can be opened."""
        return key_id in self._ciphers

    def open(self, key_id: str, box: bytes, bound: bytes) -> bytes:
        """Decrypt; raise InvalidTag if anything was changed."""
        return unseal(self._ciphers[key_id], box, bound)

    def __repr__(self) -> str:
        return f"MasterKeys(ids={self.ids}, keys=<redacted>)"


def seal(cipher: AESGCM, data: bytes, bound: bytes) -> bytes:
    """Encrypt under a nonce of its own, which stands before the result."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, data, bound)


def unseal(cipher: AESGCM, box: bytes, bound: bytes) -> bytes:
    """Undo ``seal``; raise InvalidTag if anything was changed, ValueError if it is too short."""
    return cipher.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], bound)


def make_master_key() -> str:
    """Make a key as a line of text, for the key file or the environment."""
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()


def write_master_key(path: Path) -> None:
    """Make a key and write it to a file of mode 0600."""
    write_private(path, f"{make_master_key()}\n".encode())


def load_master_keys(path: Path, env: Mapping[str, str], command: Sequence[str] = ()) -> MasterKeys:
    """Read the keys, one a line, newest first.

    They come from ``command`` if there is one, else from ``MULLIGAN_SECRETS_KEY``, else from the
    file. Raise MasterKeyError when there is none, when one is malformed, when the command fails or
    takes longer than COMMAND_S, or when the file is open to others than its owner.
    """
    if command:
        name = Path(command[0]).name
        return MasterKeys(_parse(_printed(command, name), f"secrets.key_command {name}"))
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
            f"{path}: {reason}; bring it back from where you keep it, set secrets.key_file or"
            f" {MASTER_KEY_ENV}; for a new region, `mulligan init` makes one"
        ) from None


def _printed(command: Sequence[str], name: str) -> str:
    """Run the command without a shell and return what it prints; its errors go nowhere."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise MasterKeyError(f"secrets.key_command {name}: {error.strerror}") from None
    try:
        printed = _read(process, time.monotonic() + COMMAND_S)
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if printed is None:
        raise MasterKeyError(
            f"secrets.key_command {name} was not done within {COMMAND_S:g} s and 64 KiB"
        )
    if process.returncode:
        raise MasterKeyError(
            f"secrets.key_command {name} ended with exit code {process.returncode};"
            " run it by hand as this service's user"
        )
    try:
        return printed.decode("ascii")
    except UnicodeDecodeError:
        raise MasterKeyError(f"secrets.key_command {name} printed what is no key") from None


def _read(process: "subprocess.Popen[bytes]", until: float) -> bytes | None:
    """Return all that is printed, or None if that takes too long or is too much."""
    assert process.stdout is not None
    printed = b""
    with process.stdout as pipe:
        while len(printed) <= _MAX_OUTPUT:
            if not select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            some = os.read(pipe.fileno(), 4096)
            if not some:
                try:
                    process.wait(max(0.0, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    return None
                return printed
            printed += some
    return None


def _parse(text: str, origin: str) -> list[bytes]:
    try:
        return [base64.b64decode(line, validate=True) for line in text.split()]
    except (binascii.Error, ValueError):
        raise MasterKeyError(f"{origin}: a key is 32 bytes in base64, one a line") from None


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"mulligan.master-key\0" + key).hexdigest()[:16]
