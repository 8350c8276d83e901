"""Amounts, spans and times as people write them: ``64GiB``, ``4h``, ``+2h``, ``2027-01-31``."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from mulligan.errors import InvalidArgument

MAX_AMOUNT = 2**63 - 1

_BINARY = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", start=1)}
_DECIMAL = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_AMOUNT = re.compile(
    r"(?P<number>[0-9]+(?:\.[0-9]+)?) ?"
    r"(?P<prefix>[KMGTPE]i|[kKMGTPE])?(?:B|bit/s|bps|bit|b/s)?"
)
_SPAN = re.compile(r"(?:[0-9]+(?:w|d|h|m|s))+")
_SPAN_PART = re.compile(r"([0-9]+)([wdhms])")
_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}


def parse_amount(text: str | int, field: str = "amount") -> int:
    """Read an amount in base units (bytes, bit/s, pieces); raise InvalidArgument otherwise.

    ``Ki``, ``Mi`` … are powers of 1024, ``k``, ``M`` … of 1000; the unit itself (``B``, ``bit/s``)
    may be left out. The result is a whole number that fits in 63 bits.
    """
    from fractions import Fraction

    match = _AMOUNT.fullmatch(str(text).strip())
    if match is None:
        raise InvalidArgument(field, f"{text!r} is not an amount; write it as 4, 64GiB or 10Gbit/s")
    prefix = match["prefix"] or ""
    value = Fraction(match["number"]) * (_BINARY.get(prefix) or _DECIMAL.get(prefix, 1))
    if value.denominator != 1:
        raise InvalidArgument(field, f"{text!r} is not a whole number of base units")
    if value > MAX_AMOUNT:
        raise InvalidArgument(field, f"{text!r} is more than {MAX_AMOUNT}")
    return int(value)


def format_amount(resource_class: str, amount: int) -> str:
    """Write an amount exactly, in the unit of its class that makes it shortest."""
    forms = [str(amount)]
    if resource_class.startswith(("memory", "storage")):
        forms += _exact(amount, _BINARY, "B") + _exact(amount, _DECIMAL, "B")
    elif resource_class == "network.bandwidth":
        forms += _exact(amount, _DECIMAL, "bit/s")
    numbers = {form: len(form.rstrip("KMGTPEkibt/sB")) for form in forms}
    return min(forms, key=numbers.__getitem__)


def _exact(amount: int, prefixes: dict[str, int], unit: str) -> list[str]:
    return [
        f"{amount // size}{prefix}{unit}"
        for prefix, size in reversed(prefixes.items())
        if amount and prefix != "K" and amount % size == 0
    ]


def format_bytes(amount: int) -> str:
    """Write a number of bytes for reading, rounded to one decimal."""
    for prefix in reversed(_BINARY):
        if amount >= _BINARY[prefix]:
            return f"{amount / _BINARY[prefix]:.1f}".removesuffix(".0") + f" {prefix}B"
    return f"{amount} B"


def parse_pairs(pairs: Iterable[str], field: str) -> dict[str, int]:
    """Read ``class=amount`` pairs; raise InvalidArgument for anything else, and for repeats."""
    found: dict[str, int] = {}
    for pair in pairs:
        name, equals, amount = pair.partition("=")
        if not equals or not name:
            raise InvalidArgument(field, f"{pair!r} is not CLASS=AMOUNT, such as memory=64GiB")
        if name in found:
            raise InvalidArgument(field, f"{name} is given twice")
        found[name] = parse_amount(amount, f"{field} {name}")
    return found


def parse_attributes(pairs: Iterable[str], field: str) -> dict[str, str]:
    """Read ``key=value`` pairs; raise InvalidArgument for anything else."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidArgument(field, f"{pair!r} is not KEY=VALUE")
        found[name] = value
    return found


def parse_span(text: str, field: str = "duration") -> timedelta:
    """Read a span such as ``90m``, ``4h`` or ``1d12h``; raise InvalidArgument otherwise."""
    if not _SPAN.fullmatch(text.strip()):
        raise InvalidArgument(field, f"{text!r} is not a span; write it as 90m, 4h, 1d12h or 2w")
    seconds = sum(int(count) * _SECONDS[unit] for count, unit in _SPAN_PART.findall(text))
    if seconds == 0:
        raise InvalidArgument(field, f"{text!r} is no time at all")
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise InvalidArgument(field, f"{text!r} is too long") from None


def parse_time(text: str, now: datetime, field: str = "time") -> datetime:
    """Read ``now``, ``+2h`` or ``-2h`` from now, or an ISO 8601 time, UTC if it has no offset.

    Raise InvalidArgument otherwise.
    """
    text = text.strip()
    try:
        if text == "now":
            return now
        if text.startswith("+"):
            return now + parse_span(text[1:], field)
        if text.startswith("-"):
            return now - parse_span(text[1:], field)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InvalidArgument(
            field, f"{text!r} is not a time; write it as 2027-01-31T08:00Z, +2h or now"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Moment(str):
    """A time as it is written, which knows the time, for those who would tell it otherwise."""

    at: datetime


def format_time(moment: datetime | None) -> str:
    """Write a time in UTC, to the second; an absent one is empty."""
    if not moment:
        return ""
    written = Moment(f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}")
    written.at = moment
    return written


def format_span(seconds: float) -> str:
    """Write a span for reading: ``3.2s``, ``12m``, ``4h10m``, ``3d2h``."""
    if seconds < 60:
        return f"{seconds:.1f}s".replace(".0s", "s")
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60}s".replace("m0s", "m")
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60}m".replace("h0m", "h")
    return f"{whole // 86400}d{whole % 86400 // 3600}h".replace("d0h", "d")
