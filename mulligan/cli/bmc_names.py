"""Names for machines that a scan found, from a pattern such as ``rack7-{n:02}``."""

import ipaddress
import re
import string
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from mulligan.errors import InvalidArgument

FIELDS = ("host", "n", "vendor", "product", "uuid")
TELLING = ("host", "n", "uuid")
"""Fields that differ from BMC to BMC."""

_DIGITS = re.compile(r"0?[0-9]?")


class Found(NamedTuple):
    """A BMC that answered."""

    address: str
    vendor: str = ""
    product: str = ""
    uuid: str = ""


def check_pattern(pattern: str, field: str) -> None:
    """Raise InvalidArgument unless a pattern can give every BMC a name of its own."""
    try:
        parts = [(name, form) for _, name, form, _ in string.Formatter().parse(pattern) if name]
    except ValueError as error:
        raise InvalidArgument(field, f"{pattern!r} is no pattern: {error}") from error
    for name, form in parts:
        if name not in FIELDS:
            known = ", ".join(f"{{{one}}}" for one in FIELDS)
            raise InvalidArgument(field, f"{{{name}}} is none of {known}")
        if not (_DIGITS.fullmatch(form or "") if name == "n" else not form):
            raise InvalidArgument(
                field, f"{{{name}:{form}}}: only a width, as {{n:03}}, can follow"
            )
    if not any(name in TELLING for name, _ in parts):
        raise InvalidArgument(
            field, f"{pattern!r} names all alike; put {{host}}, {{n}} or {{uuid}} in it"
        )


def names_for(found: Sequence[Found], pattern: str, taken: Collection[str]) -> Iterator[str]:
    """Yield a name for each BMC, none of which is taken or given twice where ``{n}`` can differ.

    ``pattern`` has been checked. ``{n}`` counts up from 1 over the names that are taken.
    """
    used = {name.lower() for name in taken}
    counts = any(name == "n" for _, name, _, _ in string.Formatter().parse(pattern))
    number = 0
    for one in found:
        while True:
            number += 1
            name = pattern.format(
                host=slug(urlsplit(one.address).hostname or ""),
                n=number,
                vendor=slug(one.vendor) or "bmc",
                product=slug(one.product) or "bmc",
                uuid=slug(one.uuid) or slug(urlsplit(one.address).hostname or ""),
            )
            if not counts or name.lower() not in used:
                break
        used.add(name.lower())
        yield name


def slug(text: str) -> str:
    """Return a text as a part of a name: letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48].strip("-")


def order_of(address: str) -> tuple[int, int, str, int]:
    """Return the key that sorts addresses: numbers as numbers, then host names."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return 9, 0, host, parts.port or 0
    return number.version, int(number), "", parts.port or 0
