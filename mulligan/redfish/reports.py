"""What booted machines report: that they are up, and what became of their disks.

Reading is strict and bounded, for anybody with the one-time URL may write anything. A fault names
the field that is wrong.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Annotated, Literal
from urllib.parse import parse_qsl

import msgspec

from mulligan.events.machine import DiskProof

ReportKind = Literal["phone-home", "wipe-report"]
KINDS: tuple[ReportKind, ...] = ("phone-home", "wipe-report")

ReportAnswer = Literal["taken", "over", "away"]
"""``over``: the token was used, or its operation is not waiting for it; ``away``: try again."""

MAX_BODY = 256 * 1024
"""Longest report, in bytes."""
MAX_FIELDS = 32
MAX_TEXT = 256
"""Longest text kept of a report, in characters; longer ones are cut."""

_KEY_FIELD = "pub_key_"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One report, authenticated by its token alone.

    ``address`` is where it came from. ``fields`` is what a phone-home told, keys apart, and
    ``host_keys`` the fingerprints (``SHA256:…``) of its SSH host keys by type, such as
    ``ed25519``. ``proofs`` is what a wipe report says of each disk.
    """

    kind: ReportKind
    machine: str
    operation: str
    address: str
    fields: Mapping[str, str] = {}
    host_keys: Mapping[str, str] = {}
    proofs: tuple[DiskProof, ...] = ()


OnReport = Callable[[Report], Awaitable[ReportAnswer]]
"""Take a report; whether a token was used is decided here, on exact state."""


class BadReport(Exception):
    """A report that cannot be read; the text names the field."""


class _Disk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    serial: Annotated[str, msgspec.Meta(min_length=1)]
    method: Annotated[str, msgspec.Meta(min_length=1)]
    bytes: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    verified: bool = False
    error: str = ""


class _Wipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    disks: Annotated[tuple[_Disk, ...], msgspec.Meta(max_length=256)]


def read_phone_home(body: bytes, content_type: str) -> dict[str, str]:
    """Return the fields of a form, or of a JSON object of texts; raise BadReport."""
    is_json = content_type == "application/json"
    fields = _read_json(body) if is_json else _read_form(body)
    if len(fields) > MAX_FIELDS:
        raise BadReport(f"there are {len(fields)} fields; at most {MAX_FIELDS} are read")
    return fields


def _read_json(body: bytes) -> dict[str, str]:
    try:
        return msgspec.json.decode(body, type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadReport(f"the JSON object is not of texts: {error}") from error


def _read_form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise BadReport(f"the form cannot be read: {error}") from error
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise BadReport(f"{clip(name)}: is there twice")
        fields[name] = value
    return fields


def facts_of(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that are not keys, cut to what is kept."""
    return {
        clip(name): clip(value) for name, value in fields.items() if not name.startswith(_KEY_FIELD)
    }


def host_keys_of(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fingerprints of the ``pub_key_*`` fields by type.

    cloud-init writes ``N/A`` for a key that there is not. What is no key is left out as well: a
    machine that is up is not to fail for that.
    """
    found: dict[str, str] = {}
    for name, value in fields.items():
        if name.startswith(_KEY_FIELD) and (fingerprint := fingerprint_of(value)):
            found[clip(name.removeprefix(_KEY_FIELD))] = fingerprint
    return found


def fingerprint_of(public_key: str) -> str:
    """Return ``SHA256:…`` of an OpenSSH public key line, empty for anything else."""
    words = public_key.split()
    if len(words) < 2:
        return ""
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        return ""
    # RFC 4253, 6.6: the blob begins with its own type as a length-prefixed string.
    kind = words[0].encode()
    if not blob.startswith(len(kind).to_bytes(4, "big") + kind):
        return ""
    return f"SHA256:{base64.b64encode(sha256(blob).digest()).decode().rstrip('=')}"


def read_wipe_report(body: bytes) -> tuple[DiskProof, ...]:
    """Return the proofs of a wipe report; raise BadReport."""
    try:
        disks = msgspec.json.decode(body, type=_Wipe).disks
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadReport(f"the wipe report cannot be read: {error}") from error
    seen: set[str] = set()
    for number, disk in enumerate(disks):
        if disk.serial in seen:
            raise BadReport(f"disks[{number}].serial: {clip(disk.serial)!r} is there twice")
        seen.add(disk.serial)
    return tuple(
        DiskProof(
            serial=clip(disk.serial),
            method=clip(disk.method),
            bytes=disk.bytes,
            verified=disk.verified,
            error=clip(disk.error),
        )
        for disk in disks
    )


def clip(text: str) -> str:
    """Return a text without control characters and cut to what is kept."""
    return "".join(c if c.isprintable() else " " for c in text[:MAX_TEXT]).strip()
