"""A region's sealed secrets in a file, as they lie in etcd: they open by the master key only.

Lines of JSON, each ended by a newline: a header, a secret each, and an end with the sha256 of the
lines before it.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from mulligan.errors import Corrupt, FailedPrecondition
from mulligan.log.etcd import Compare, Etcd, Put, prefix_end
from mulligan.log.export_file import written_whole
from mulligan.log.identity import identity_of
from mulligan.log.keys import Keys
from mulligan.model import RegionName, utc_now

FORMAT = "mulligan-secrets"
VERSION = 1

_PAGE = 200
_MAX_LINE = 2**20
_TIMEOUT_S = 15.0


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Whose secrets these are, as of when."""

    format: str = FORMAT
    version: int = VERSION
    region: str
    log_id: str
    at: datetime


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """One secret: its key below ``secret/``, and the sealed value in base64."""

    key: str
    value: str


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How many secrets there were, and the sha256 of every line before this one."""

    secrets: int
    sha256: str


async def save_secrets(etcd: Etcd, region: RegionName, file: Path) -> int:
    """Write every sealed secret, as of one moment, to a file of mode 0600; return how many.

    Raise FailedPrecondition where there is no region, or the file cannot be written.
    """
    identity = await identity_of(etcd, region)
    if identity is None:
        raise FailedPrecondition(f"there is no log of {region} in this etcd, so no secrets either")
    header = Header(region=region, log_id=identity.log_id, at=utc_now())
    found = await _read_all(etcd, region)
    try:
        with written_whole(file) as opened:
            _write(opened, header, found)
    except OSError as error:
        raise FailedPrecondition(f"{file} cannot be written: {error.strerror}") from error
    return len(found)


async def _read_all(etcd: Etcd, region: RegionName) -> list[Sealed]:
    prefix = Keys(region).secret
    found: list[Sealed] = []
    start, revision = prefix, 0
    while True:
        page = await etcd.range(
            start, prefix_end(prefix), limit=_PAGE, revision=revision, bulk=True, timeout=_TIMEOUT_S
        )
        revision = revision or page.revision
        for kv in page.kvs:
            value = base64.b64encode(kv.value).decode()
            found.append(Sealed(key=kv.key[len(prefix) :], value=value))
        if not page.more:
            return found
        start = f"{page.kvs[-1].key}\0"


def _write(file: BinaryIO, header: Header, secrets: Sequence[Sealed]) -> None:
    os.fchmod(file.fileno(), 0o600)
    digest = hashlib.sha256()
    for one in (header, *secrets):
        line = msgspec.json.encode(one) + b"\n"
        digest.update(line)
        file.write(line)
    end = End(secrets=len(secrets), sha256=digest.hexdigest())
    file.write(msgspec.json.encode(end) + b"\n")


def read_secrets(file: Path) -> tuple[Header, Sequence[Sealed]]:
    """Read such a file; raise FailedPrecondition if that fails, Corrupt for what is none."""
    try:
        with file.open("rb") as opened:
            lines = list(_lines(opened, file.name))
    except OSError as error:
        raise FailedPrecondition(f"{file} cannot be read: {error.strerror}") from error
    try:
        header = msgspec.json.decode(lines[0], type=Header)
        secrets = [msgspec.json.decode(line, type=Sealed) for line in lines[1:-1]]
        end = msgspec.json.decode(lines[-1], type=End)
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError) as error:
        raise Corrupt(f"{file.name} holds no secrets of a region: {error}") from error
    if (header.format, header.version) != (FORMAT, VERSION):
        raise Corrupt(f"{file.name} is {header.format} {header.version}, not {FORMAT} {VERSION}")
    digest = hashlib.sha256(b"".join(lines[:-1])).hexdigest()
    if (end.secrets, end.sha256) != (len(secrets), digest):
        raise Corrupt(f"{file.name} is damaged: its last line is not the digest of those before")
    return header, secrets


def _lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    while line := file.readline(_MAX_LINE):
        if not line.endswith(b"\n"):
            raise Corrupt(f"{name} is cut off, or is no file of secrets")
        yield line


def require_of(header: Header, region: RegionName) -> None:
    """Raise FailedPrecondition for another region's: secrets are sealed to their region's name."""
    if header.region != region:
        raise FailedPrecondition(
            f"the secrets are of {header.region}; sealed for it, they do not open in {region}"
        )


async def bring_back(etcd: Etcd, region: RegionName, secrets: Sequence[Sealed]) -> int:
    """Put the secrets that etcd lacks, and touch none that it has; return how many came."""
    prefix = Keys(region).secret
    count = 0
    for one in secrets:
        try:
            value = base64.b64decode(one.value, validate=True)
        except binascii.Error as error:
            raise Corrupt(f"the secret {one.key} is no base64") from error
        key = prefix + one.key
        answer = await etcd.txn([Compare(key, "create", 0)], [Put(key, value)], timeout=_TIMEOUT_S)
        count += answer.succeeded
    return count
