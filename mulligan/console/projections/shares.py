"""How many machines each instance looks after."""

from collections import Counter
from collections.abc import Iterable

from mulligan.commands.shards import owner_of
from mulligan.proto.v1 import Endpoint

SHARED = ("control", "executor")
"""Services whose instances divide the machines among them."""


def shares_of(services: Iterable[Endpoint], machines: Iterable[str]) -> Counter[str]:
    """Return how many machines each instance looks after, as the instances divide them."""
    shares: Counter[str] = Counter()
    uuids = list(machines)
    listed = list(services)
    for service in SHARED:
        instances = [one.instance for one in listed if one.service == service]
        if instances:
            shares.update(owner_of(uuid, instances) for uuid in uuids)
    return shares
