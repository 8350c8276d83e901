"""Reading what BMCs answer, without I/O and without trust: nulls, wrong types and lies included."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from mulligan.redfish.digests import redact
from mulligan.redfish.faults import Ambiguous, BmcFault
from mulligan.redfish.transport import Answer

Json = Mapping[str, Any]

# A body may nest as deep as it likes; the decoder gives up by RecursionError.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

ABSENT = (404, 405, 501)
"""Statuses by which a BMC says that it does not have an optional resource."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A good answer: the JSON object, empty when there was no body, and the entity tag."""

    path: str
    status: int
    body: dict[str, Any]
    etag: str = ""


def text(value: object) -> str:
    """Return a trimmed string of at most 200 characters, empty for anything else."""
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value if c.isprintable()).strip()[:200]


def reference(value: object) -> str:
    """Return a path or URL as it is, empty for anything else."""
    return value if isinstance(value, str) and len(value) <= 2000 else ""


def whole(value: object) -> int:
    """Return a whole number from 0 to 2**63 - 1; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0
    if not 0 <= value < 2**63:
        return 0
    return int(value)


def section(value: object, *keys: str) -> Json:
    """Return the object found by following ``keys``, empty where the way ends."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    """Return a list, empty for anything else."""
    return value if isinstance(value, list) else []


def link(value: object, *keys: str) -> str:
    """Return the ``@odata.id`` of the object found by following ``keys``, or nothing."""
    return reference(section(value, *keys).get("@odata.id"))


def links(value: object) -> list[str]:
    """Return the ``@odata.id`` of each member of a list of references."""
    return [path for path in (link(item) for item in items(value)) if path]


def last_segment(path: str) -> str:
    """Return the last part of a path: a resource's id, most of the time."""
    return path.rstrip("/").rpartition("/")[2]


def local_path(path: object, origin: str) -> str:
    """Return ``path`` as a path on ``origin``; raise ValueError when it leads anywhere else."""
    if not isinstance(path, str) or not path or not path.isprintable() or " " in path:
        raise ValueError(f"{str(path)[:80]!r} is no path")
    if path.startswith("/") and not path.startswith("//"):
        return path.partition("#")[0]
    parts = urlsplit(path)
    if f"{parts.scheme}://{parts.netloc}".lower() != origin.lower():
        raise ValueError(f"{path[:80]!r} leads to another host")
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def own_path(location: str, origin: str) -> str:
    """Return where on ``origin`` a Location header points, empty when it points nowhere.

    BMCs write it with a host name of their own making. Its path is asked of the BMC itself, so
    that nothing is ever sent elsewhere.
    """
    try:
        return local_path(location, origin)
    except ValueError:
        pass
    try:
        parts = urlsplit(location)
        if parts.scheme in ("http", "https"):
            return local_path(parts._replace(scheme="", netloc="").geturl(), origin)
    except ValueError:
        pass
    return ""


def decode(address: str, path: str, answer: Answer) -> dict[str, Any]:
    """Return the body as an object; raise ``not-redfish`` or ``bad-answer``."""
    if not answer.body.strip():
        return {}
    try:
        value = msgspec.json.decode(answer.body)
    except _UNREADABLE:
        if answer.body.lstrip()[:1] == b"<" or "html" in answer.headers.get("content-type", ""):
            raise BmcFault(
                "not-redfish",
                f"{address} answered {path} with a web page, not Redfish; check that the address "
                "and port are those of the BMC",
                status=answer.status,
            ) from None
        raise BmcFault(
            "bad-answer",
            f"{address} answered {path} with {len(answer.body)} bytes of invalid JSON",
            status=answer.status,
        ) from None
    if not isinstance(value, dict):
        raise BmcFault(
            "bad-answer",
            f"{address} answered {path} with a JSON {type(value).__name__} where Redfish has an "
            "object",
            status=answer.status,
        )
    return value


def _start(body: bytes) -> str:
    return body[:300].decode("utf-8", "replace")


def _errors(body: object) -> Iterator[Json]:
    error = section(body, "error")
    for item in items(error.get("@Message.ExtendedInfo")):
        if isinstance(item, Mapping):
            yield item
    yield error


def scrubbed(answer: Answer, secrets: tuple[str, ...]) -> Answer:
    """Return the answer without any of the secrets in its body."""
    body = answer.body
    for secret in filter(None, secrets):
        body = body.replace(secret.encode(), b"***")
    return msgspec.structs.replace(answer, body=body)


_REFERRAL = "@Message.ExtendedInfo"
"""What a message has in it that only points to the others."""

_BUSY_IDS = frozenset(
    {
        "ResourceInUse", "ServiceTemporarilyUnavailable", "UnableToModifyDuringSystemPOST",
        "SystemResetRequiredOrInPost",
    }
)  # fmt: skip
"""Ids of messages that come with a 400 and mean: not now."""


def complaint(answer: Answer) -> str:
    """Return the first message of a Redfish error that says something, or the body's start."""
    try:
        body = msgspec.json.decode(answer.body)
    except _UNREADABLE:
        return "" if answer.body.lstrip()[:1] == b"<" else redact(_start(answer.body))
    errors = list(_errors(body))
    messages = [text(item.get("Message")) or text(item.get("message")) for item in errors]
    said = [*(one for one in messages if _REFERRAL not in one), *map(_named, errors)]
    return redact(next(filter(None, said), ""))


def _named(item: Json) -> str:
    """Return an error's id with its arguments: some BMCs give no message beside."""
    name = text(item.get("MessageId")).rpartition(".")[2]
    args = ", ".join(text(one) for one in items(item.get("MessageArgs")) if text(one))
    return f"{name} ({args})" if args else name


def message_ids(answer: Answer) -> set[str]:
    """Return the message ids of a Redfish answer without registry and version."""
    try:
        body = msgspec.json.decode(answer.body)
    except _UNREADABLE:
        return set()
    found = [text(item.get("MessageId")) for item in _errors(body)]
    top = items(section(body).get("@Message.ExtendedInfo"))
    found += [text(section(item).get("MessageId")) for item in top]
    return {message.rpartition(".")[2] for message in found if message}


def account_to_change(answer: Answer) -> str:
    """Return the path of the account whose password is to be changed before anything else."""
    try:
        body = msgspec.json.decode(answer.body)
    except _UNREADABLE:
        return ""
    top = items(section(body).get(_REFERRAL))
    for item in (*_errors(body), *map(section, top)):
        if text(item.get("MessageId")).endswith(".PasswordChangeRequired"):
            return next(map(reference, items(item.get("MessageArgs"))), "")
    return ""


def judge(address: str, method: str, path: str, answer: Answer) -> BmcFault | None:
    """Return what is wrong with an answer by its status, None when it is good."""
    status = answer.status
    if 200 <= status < 300:
        return None
    said = complaint(answer)
    what = f"{address} answered {method} {path} with {status}" + (f": {said}" if said else "")
    if 300 <= status < 400:
        return BmcFault(
            "not-redfish",
            f"{what}, a redirection to {answer.headers.get('location', 'nowhere')[:120]!r}, which "
            "is not followed; enrol the machine under the BMC's final address",
            status=status,
        )
    if status == 403:
        return BmcFault(
            "forbidden",
            f"{what}; give the BMC account the Operator or Administrator role",
            status=status,
        )
    busy = status == 400 and not message_ids(answer).isdisjoint(_BUSY_IDS)
    if busy or status in (408, 409, 423, 425, 429, 503):
        return BmcFault("busy", f"{what}; the BMC is busy", status=status)
    if status in (404, 405, 501):
        return BmcFault("unsupported", f"{what}; the BMC does not offer this", status=status)
    if status >= 500:
        if method in ("POST", "PATCH"):
            return Ambiguous(f"{what}; it may have been applied", status=status)
        return BmcFault("server-error", what, status=status)
    return BmcFault("refused", f"{what}; the BMC refused the request", status=status)


def retry_after(
    headers: Mapping[str, str], now: datetime, default: float = 1.0, least: float = 1.0
) -> float:
    """Return how long to wait in seconds: what a number or a date says, within 1 to 60.

    ``default`` where the BMC says nothing, or nothing that can be read. ``least`` takes the place
    of the 1.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return default
    if value.isascii() and value.isdecimal():
        seconds = float(value[:6])
    else:
        try:
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return default
    return min(max(seconds, least), 60.0)
