"""Network interfaces as a BMC describes them: by themselves, or by the adapters they are on."""

import re

import msgspec

from mulligan.events.machine import Nic
from mulligan.redfish.answers import Json, items, link, links, reference, section, text, whole
from mulligan.redfish.descriptions import absent, amount

_MAC = re.compile(r"[0-9a-f]{12}\Z")


def mac_of(*values: object) -> str:
    """Return the first that is a MAC address, as ``aa:bb:cc:dd:ee:ff``; zeros are none."""
    for value in values:
        digits = re.sub("[^0-9a-f]", "", text(value).lower())
        if _MAC.match(digits) and digits.strip("0"):
            return ":".join(digits[i : i + 2] for i in range(0, 12, 2))
    return ""


def nic_of(body: Json) -> Nic | None:
    """Read an EthernetInterface, None for one without id and MAC."""
    nic = Nic(
        id=text(body.get("Id")),
        mac=mac_of(body.get("PermanentMACAddress"), body.get("MACAddress")),
        speed_mbps=amount(body.get("SpeedMbps")),
        link=text(body.get("LinkStatus")),
    )
    return nic if nic.id or nic.mac else None


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """A network adapter: where its functions and its ports are."""

    id: str = ""
    functions: str = ""
    ports: str = ""


def adapter_of(body: Json) -> Adapter | None:
    """Read a NetworkAdapter, None for one that is not there."""
    if absent(body):
        return None
    return Adapter(
        id=text(body.get("Id")),
        functions=link(body, "NetworkDeviceFunctions"),
        ports=link(body, "Ports") or link(body, "NetworkPorts"),
    )


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """A port of a network adapter: the addresses behind it, and its speed in Mbit/s."""

    path: str = ""
    id: str = ""
    macs: tuple[str, ...] = ()
    speed_mbps: int = 0
    link: str = ""


def port_of(body: Json) -> Port:
    """Read a Port or a NetworkPort."""
    told_of = [*items(body.get("AssociatedNetworkAddresses"))[:8]]
    told_of += items(section(body, "Ethernet").get("AssociatedMACAddresses"))[:8]
    gigabits = body.get("CurrentSpeedGbps")
    number = isinstance(gigabits, (int, float)) and not isinstance(gigabits, bool)
    by_gigabits = whole(gigabits * 1000) if number else 0  # type: ignore[operator]
    return Port(
        path=reference(body.get("@odata.id")),
        id=text(body.get("Id")),
        macs=tuple(mac for mac in map(mac_of, told_of) if mac),
        speed_mbps=amount(body.get("CurrentLinkSpeedMbps")) or by_gigabits,
        link={"Up": "LinkUp", "Down": "LinkDown"}.get(
            text(body.get("LinkStatus")), text(body.get("LinkStatus"))
        ),
    )


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A network device function: an address, and the port it goes by."""

    id: str = ""
    mac: str = ""
    port: str = ""


def function_of(body: Json) -> Function:
    """Read a NetworkDeviceFunction."""
    ethernet = section(body, "Ethernet")
    ports = links(section(body, "Links").get("PhysicalPortAssignment"))
    return Function(
        id=text(body.get("Id")),
        mac=mac_of(ethernet.get("PermanentMACAddress"), ethernet.get("MACAddress")),
        port=link(body, "Links", "PhysicalPortAssignment")
        or link(body, "Links", "PhysicalNetworkPortAssignment")
        or link(body, "PhysicalPortAssignment")
        or next(iter(ports), ""),
    )


def adapter_nics(adapter: str, functions: list[Function], ports: list[Port]) -> list[Nic]:
    """Return the network interfaces of an adapter: by its functions, else by its ports."""
    nics = []
    for function in functions:
        if not function.mac:
            continue
        port = next((p for p in ports if p.path == function.port or function.mac in p.macs), Port())
        name = _within(adapter, function.id)
        nics.append(Nic(id=name, mac=function.mac, speed_mbps=port.speed_mbps, link=port.link))
    if nics:
        return nics
    return [
        Nic(id=_within(adapter, p.id), mac=p.macs[0], speed_mbps=p.speed_mbps, link=p.link)
        for p in ports
        if p.macs
    ]


def _within(adapter: str, name: str) -> str:
    """Return a name that no other adapter's part has: some hold the adapter's name already."""
    own = name.startswith(adapter) and name[len(adapter) : len(adapter) + 1] in tuple("-_.:/")
    return name if own or not adapter else f"{adapter}/{name}"
