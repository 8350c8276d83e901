"""Messages as the arguments of commands; what is malformed is refused with the field named."""

from datetime import datetime, timedelta

from mulligan.errors import InvalidArgument
from mulligan.events.claim import Allocation
from mulligan.events.machine import Bmc
from mulligan.events.provider import Inventory
from mulligan.handlers.enrolment import check_bmc, plain_address
from mulligan.handlers.provider import check_class, check_inventory
from mulligan.model import MAX_AMOUNT, CredentialId, ProviderId, ResourceClass
from mulligan.proto import v1

MAX_INVENTORIES = 64
MAX_CAPABILITIES = 256
MAX_ATTRIBUTES = 64
MAX_COUNT = 1000
MAX_GROUP_NAME = 63


def inventories(messages: list[v1.Inventory]) -> dict[ResourceClass, Inventory]:
    """Read inventories; every class once."""
    if len(messages) > MAX_INVENTORIES:
        raise InvalidArgument("inventories", f"at most {MAX_INVENTORIES} classes")
    found: dict[ResourceClass, Inventory] = {}
    for index, message in enumerate(messages):
        field = f"inventories[{index}]"
        check_class(message.resource_class, f"{field}.resource_class")
        inventory = Inventory(
            total=message.total,
            reserved=message.reserved,
            min_unit=message.min_unit or 1,
            max_unit=message.max_unit or MAX_AMOUNT,
            step_size=message.step_size or 1,
            allocation_ratio=message.allocation_ratio or 1.0,
        )
        check_inventory(inventory, field)
        class_ = ResourceClass(message.resource_class)
        if class_ in found:
            raise InvalidArgument(f"{field}.resource_class", f"{class_} is given twice")
        found[class_] = inventory
    return found


def capabilities(values: list[str], field: str = "capabilities") -> tuple[str, ...]:
    """Read capabilities: dotted lower-case words, sorted, each once."""
    if len(values) > MAX_CAPABILITIES:
        raise InvalidArgument(field, f"at most {MAX_CAPABILITIES}")
    for index, value in enumerate(values):
        words = value.split(".")
        if len(words) < 2 or len(value) > 128 or not all(_is_word(w) for w in words):
            raise InvalidArgument(
                f"{field}[{index}]",
                f"{value!r} is no capability: write dotted lower-case words, such as storage.ssd",
            )
    return tuple(sorted(set(values)))


def _is_word(word: str) -> bool:
    return bool(word) and all(c.islower() or c.isdigit() or c in "_-" for c in word)


def attributes(values: dict[str, str]) -> dict[str, str]:
    """Read attributes: few and short."""
    if len(values) > MAX_ATTRIBUTES:
        raise InvalidArgument("attributes", f"at most {MAX_ATTRIBUTES}")
    for key, value in values.items():
        if not 0 < len(key) <= 128 or len(value) > 1024:
            raise InvalidArgument(f"attributes[{key}]", "keys to 128, values to 1,024 characters")
        if not (key.isprintable() and value.isprintable()):
            raise InvalidArgument(f"attributes[{key}]", "write printable characters only")
    return dict(sorted(values.items()))


def amounts(values: dict[str, int], field: str) -> dict[ResourceClass, int]:
    """Read positive amounts by resource class."""
    if not values:
        raise InvalidArgument(field, "ask for at least one resource class")
    for class_, amount in values.items():
        check_class(class_, f"{field}[{class_}]")
        if not 0 < amount <= MAX_AMOUNT:
            raise InvalidArgument(f"{field}[{class_}]", f"{amount} is not above 0")
    return {ResourceClass(c): n for c, n in sorted(values.items())}


def seconds(value: timedelta | None, field: str) -> int:
    """Read a span of time in whole seconds; 0 when it is left out."""
    if value is None:
        return 0
    if value < timedelta(0) or value % timedelta(seconds=1):
        raise InvalidArgument(field, "give whole seconds, not below 0")
    return int(value.total_seconds())


def window(message: v1.Window | None) -> tuple[datetime | None, datetime | None]:
    """Read a window; None for an absent start (now) or end (open)."""
    if message is None:
        return None, None
    start, end = message.start, message.end
    if start is not None and end is not None and end <= start:
        raise InvalidArgument("window.end", "the end is not after the start")
    return start, end


def count(value: int, field: str) -> int:
    """Read how many instances a group asks for; 0 means 1."""
    if not 0 <= value <= MAX_COUNT:
        raise InvalidArgument(field, f"{value} is not between 1 and {MAX_COUNT}")
    return value or 1


def allocation(message: v1.Allocation, provider: str, field: str) -> Allocation:
    """Read one allocation of a claim, with its provider already found."""
    return Allocation(
        provider=ProviderId(provider),
        amounts=amounts(message.amounts, f"{field}.amounts"),
        group=group_name(message.group, f"{field}.group"),
    )


def group_name(value: str, field: str) -> str:
    """Read what a caller calls one group of a claim's resources; it may be empty."""
    if len(value) > MAX_GROUP_NAME or not value.isprintable():
        raise InvalidArgument(field, f"write at most {MAX_GROUP_NAME} printable characters")
    return value


def bmc(message: v1.Bmc, credential: str) -> Bmc:
    """Read how a BMC is reached, with its credential already found."""
    found = Bmc(
        address=plain_address(message.address),
        credential=CredentialId(credential),
        system=message.system,
        verify=not message.insecure,
        fingerprint=message.fingerprint.replace(":", "").lower(),
        pin=message.pin,
    )
    check_bmc(found)  # before its address becomes part of a key that is looked for
    return found


def version(tag: str) -> int:
    """Read an etag; 0 for none."""
    if tag and not (tag.isdecimal() and len(tag) < 20):
        raise InvalidArgument("etag", f"{tag!r} is no etag; send the one you read")
    return int(tag or 0)
