"""What a region's name, addresses and visibility have to look like."""

import re

from mulligan.errors import InvalidArgument
from mulligan.model import RegionName

MAX_ADDRESSES = 16
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_VISIBILITIES = ("public", "internal")


def check_name(text: str, field: str) -> RegionName:
    """Return a region's name; raise InvalidArgument unless it is one."""
    if not text:
        raise InvalidArgument(field, "name the region")
    if _NAME.fullmatch(text) is None:
        raise InvalidArgument(
            field,
            f"{text[:80]!r} is no name of a region: write 1 to 63 lower-case letters, digits and"
            " dashes, no dash first or last",
        )
    return RegionName(text)


def check_visibility(text: str) -> str:
    """Return a visibility, public for none; raise InvalidArgument unless it is one."""
    if text and text not in _VISIBILITIES:
        raise InvalidArgument("visibility", f"{text[:80]!r} is neither public nor internal")
    return text or "public"


def check_addresses(texts: list[str]) -> tuple[str, ...]:
    """Return addresses, each once, in their order; raise InvalidArgument for what is none."""
    if len(texts) > MAX_ADDRESSES:
        raise InvalidArgument("addresses", f"at most {MAX_ADDRESSES}; any one is enough")
    for index, text in enumerate(texts):
        host, _, port = text.rpartition(":")
        decimal = port.isascii() and port.isdecimal()
        if _HOST.fullmatch(host) is None or not decimal or not 0 < int(port[:6]) < 65536:
            raise InvalidArgument(
                f"addresses[{index}]",
                f"{text[:80]!r} is no address: write host:port, an IPv6 address in brackets",
            )
    return tuple(dict.fromkeys(texts))
