"""A machine's power and health: one read of its system, and a closer look when it is not well."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import msgspec

from mulligan.events.machine import Condition, Health, Power
from mulligan.redfish.answers import Json, items, link, links, section, text
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.hardware_events import condition_of, severity_of
from mulligan.redfish.power import power_of

MOST_CONDITIONS = 16
MOST_READS = 24
_SAID = 240
"""Characters of why a BMC cannot be read that are kept: enough for a fingerprint at their end."""
"""Resources read in one closer look; the parts beyond are not asked."""

_WORST: tuple[Health, ...] = ("critical", "warning", "ok")
_STATED: dict[str, Health] = {"OK": "ok", "Warning": "warning", "Critical": "critical"}


class Status(msgspec.Struct, frozen=True):
    """What a system says of itself; ``conditions`` are those that it lists, the worst first."""

    power: Power
    health: Health
    conditions: tuple[Condition, ...]


def status_of(system: Json) -> Status:
    """Return a system's power, its worst stated health, and what it says is wrong."""
    return Status(power_of(system), health_of(system), worst_first(_listed(system)))


def health_of(resource: Json) -> Health:
    """Return the worse of a resource's own and rolled up health; ``unknown`` when it states none.

    A part that is absent has no health, whatever it says.
    """
    status = section(resource, "Status")
    if text(status.get("State")) == "Absent":
        return "unknown"
    stated = {_STATED.get(text(status.get(name))) for name in ("Health", "HealthRollup")}
    return next((health for health in _WORST if health in stated), "unknown")


def worst_first(conditions: list[Condition]) -> tuple[Condition, ...]:
    """Return the conditions, the worst first, one of a component and message, 16 at most."""
    ranked = sorted(conditions, key=lambda c: (_rank(c.severity), c.component, c.message))
    unique: dict[tuple[str, str], Condition] = {}
    for condition in ranked:
        unique.setdefault((condition.component, condition.message_id), condition)
    return tuple(unique.values())[:MOST_CONDITIONS]


def _rank(severity: Health) -> int:
    return _WORST.index(severity) if severity in _WORST else len(_WORST)


def _listed(resource: Json) -> list[Condition]:
    """Return what ``Status.Conditions`` lists, leaving out what is well."""
    found: list[Condition] = []
    for item in items(section(resource, "Status").get("Conditions"))[:64]:
        severity = severity_of(section(item).get("Severity"))
        if severity != "ok":
            found.append(condition_of(section(item), severity))
    return found


def _faulty(part: Json, kind: str) -> list[Condition]:
    """Return what is wrong with one part, by its own conditions or else by its health."""
    health = health_of(part)
    if health not in ("warning", "critical"):
        return []
    listed = _listed(part)
    if listed:
        return listed
    name = text(part.get("Id")) or text(part.get("MemberId")) or text(part.get("Name"))
    state = text(section(part, "Status").get("State"))
    said = f"the BMC reports {health}" + (f" ({state})" if state not in ("", "Enabled") else "")
    return [Condition(component=f"{kind}/{name}" if name else kind, severity=health, message=said)]


async def find_conditions(
    client: BmcClient, system: Json, *, within: float
) -> tuple[Condition, ...]:
    """Return what is wrong with a system that is not well, by reading at most 24 of its parts.

    What cannot be read, or not ``within`` so many seconds, is passed over; where nothing is found,
    the system itself is the condition.
    """
    found = [*_listed(system), *_hpe_summary(system)]
    look = _Look(client)
    with anyio.move_on_after(within):
        async with aclosing(look.parts(system)) as parts:
            async for kind, part in parts:
                found += _faulty(part, kind)
    if not found:
        health = health_of(system)
        said = f"the BMC reports {health} without saying of what"
        found = [Condition(component="system", severity=health, message=said)]
    return worst_first(found)


_HPE_PARTS = {
    "BiosOrHardwareHealth": "firmware",
    "Fans": "fan",
    "Memory": "memory",
    "Network": "network",
    "PowerSupplies": "power-supply",
    "Processors": "processor",
    "SmartStorageBattery": "storage",
    "Storage": "storage",
    "Temperatures": "temperature",
}


def _hpe_summary(system: Json) -> list[Condition]:
    """Return what iLO sums up by kind in the system itself."""
    oem = section(system, "Oem")
    summary = section(oem, "Hpe", "AggregateHealthStatus") or section(
        oem, "Hp", "AggregateHealthStatus"
    )
    found: list[Condition] = []
    for name, kind in _HPE_PARTS.items():
        found += _faulty(section(summary, name), kind)
    return found


class _Look:
    """One closer look: it reads parts until it has read enough."""

    def __init__(self, client: BmcClient) -> None:
        self._client = client
        self._left = MOST_READS
        self._query = ""

    async def parts(self, system: Json) -> AsyncGenerator[tuple[str, Json]]:
        """Yield the system's parts and the word for what they are."""
        self._query = _expanding(await self._client.root())
        for path in links(section(system, "Links").get("Chassis"))[:2]:
            chassis = await self._get(path)
            async for found in self._cooled_and_powered(chassis):
                yield found
        for summary, collection, kind in (
            ("MemorySummary", "Memory", "memory"),
            ("ProcessorSummary", "Processors", "processor"),
        ):
            if health_of(section(system, summary)) != "ok":
                async for part in self._members(link(system, collection)):
                    yield kind, part
        async for storage in self._members(link(system, "Storage")):
            yield "storage", storage
            if health_of(storage) != "ok":
                for drive in links(storage.get("Drives"))[:MOST_READS]:
                    yield "storage", await self._get(drive)

    async def _cooled_and_powered(self, chassis: Json) -> AsyncGenerator[tuple[str, Json]]:
        for modern, collection, older, kinds in (
            (
                "PowerSubsystem",
                "PowerSupplies",
                "Power",
                {"PowerSupplies": "power-supply", "Voltages": "power"},
            ),
            (
                "ThermalSubsystem",
                "Fans",
                "Thermal",
                {"Fans": "fan", "Temperatures": "temperature"},
            ),
        ):
            subsystem = await self._get(link(chassis, modern))
            path = link(subsystem, collection)
            if path:
                async for part in self._members(path):
                    yield kinds[collection], part
                continue
            together = await self._get(link(chassis, older))
            for name, kind in kinds.items():
                for part in items(together.get(name))[:MOST_READS]:
                    yield kind, section(part)

    async def _members(self, collection: str) -> AsyncGenerator[Json]:
        body = await self._get(collection + self._query if collection else "")
        if not body and self._query:
            body = await self._get(collection)
        for member in items(body.get("Members"))[:64]:
            if "Status" in section(member):
                yield section(member)
            else:
                yield await self._get(link({"it": member}, "it"))

    async def _get(self, path: str) -> Json:
        if not path or self._left <= 0:
            return {}
        self._left -= 1
        try:
            return (await self._client.get(path, pauses=())).body
        except BmcFault:
            return {}


def _expanding(root: Json) -> str:
    """Return the query by which a collection comes with its members; empty when not offered."""
    expand = section(root, "ProtocolFeaturesSupported", "ExpandQuery")
    if expand.get("NoLinks") is True:
        return "?$expand=.($levels=1)" if expand.get("Levels") is True else "?$expand=."
    return ""


def silence(fault: str, message: str) -> Condition:
    """Return the condition of a machine whose BMC could not be read several times in a row."""
    said = f"the BMC cannot be read, power and health are not known: {message}"
    return Condition(component="bmc", severity="warning", message=said[:_SAID], message_id=fault)
