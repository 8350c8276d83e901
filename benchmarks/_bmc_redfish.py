"""The simulated machines: what their BMCs show, what they do when told to, and what they count."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid5

import msgspec

from benchmarks._bmc_http import Answer

Json = dict[str, Any]

_NAMESPACE = UUID("8a0f2f4e-5c53-4a30-8f54-0f3b5f2a9d10")
_ALLOWED = [
    "On",
    "ForceOff",
    "GracefulShutdown",
    "ForceRestart",
    "GracefulRestart",
    "PushPowerButton",
]
_TARGETS = {"On": "On", "ForceOff": "Off", "GracefulShutdown": "Off"}
_CPUS, _DIMMS, _NICS, _DRIVES, _MEDIA = 2, 4, 2, 2, ("Cd1", "Cd2")
_encode = msgspec.json.encode


def system_id(number: int) -> str:
    """Return the Redfish id of the n-th machine, the same each time."""
    return str(uuid5(_NAMESPACE, f"system-{number}"))


def answer(body: Json, status: int = 200, headers: str = "") -> Answer:
    """Return a JSON answer."""
    return Answer(status, _encode(body), headers)


def refusal(status: int, message: str) -> Answer:
    """Return a Redfish error."""
    error = {"code": "Base.1.8.GeneralError", "@Message.ExtendedInfo": [{"Message": message}]}
    return answer({"error": error}, status)


NOT_FOUND = refusal(404, "there is no such resource")


def _members(path: str, names: list[str]) -> Json:
    members = [{"@odata.id": f"{path}/{name}"} for name in names]
    return {"@odata.id": path, "Members": members, "Members@odata.count": len(members)}


class System:
    """One machine and its BMC. ``applied`` counts the writes that had an effect, by what they did.

    Power follows a reset after ``power_s`` seconds.
    """

    def __init__(self, number: int, power_s: float) -> None:
        self.id = system_id(number)
        self.number = number
        self.applied: Counter[str] = Counter()
        self.in_flight = 0
        self._power_s = power_s
        self._power = "Off"
        self._target = "Off"
        self._due = 0.0
        self._boot: Json = {
            "BootSourceOverrideEnabled": "Disabled",
            "BootSourceOverrideTarget": "None",
            "BootSourceOverrideMode": "UEFI",
        }
        self._media: dict[str, str] = dict.fromkeys(_MEDIA, "")
        self._base = f"/redfish/v1/Systems/{self.id}"
        self._manager = f"/redfish/v1/Managers/{self.id}"

    @property
    def power(self) -> str:
        """The power state as the BMC reports it now."""
        if self._power != self._target:
            if asyncio.get_running_loop().time() < self._due:
                return "PoweringOn" if self._target == "On" else "PoweringOff"
            self._power = self._target
        return self._power

    def serve(self, method: str, kind: str, rest: str, body: Json) -> Answer:
        """Answer a request below ``Systems`` or ``Managers`` of this machine."""
        if method == "GET":
            found = self._system(rest) if kind == "Systems" else self._manages(rest)
            return NOT_FOUND if found is None else answer(found)
        if kind == "Systems" and (method, rest) == ("PATCH", ""):
            return self._patch(body)
        if method == "POST":
            return self._act(rest, body)
        return refusal(405, f"{method} is not allowed here")

    # -- reading -----------------------------------------------------------------------------

    def _system(self, rest: str) -> Json | None:
        if not rest:
            return self._self()
        kind, _, item = rest.partition("/")
        reader = _READERS.get(kind)
        return None if reader is None else reader(f"{self._base}/{kind}", item, self.number)

    def _self(self) -> Json:
        base = self._base
        reset = {"target": f"{base}/Actions/ComputerSystem.Reset"}
        return {
            "@odata.id": base,
            "@odata.type": "#ComputerSystem.v1_13_0.ComputerSystem",
            "Id": self.id,
            "UUID": self.id,
            "Name": f"machine-{self.number}",
            "Manufacturer": "Simulated",
            "Model": "S1",
            "SKU": "S1-64",
            "SerialNumber": f"SIM{self.number:08d}",
            "BiosVersion": "1.0",
            "PowerState": self.power,
            "Status": {"State": "Enabled", "Health": "OK", "HealthRollup": "OK"},
            "Boot": {
                **self._boot,
                "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "Cd", "Hdd"],
            },
            "ProcessorSummary": {"Count": _CPUS, "Model": "Simulated CPU"},
            "MemorySummary": {"TotalSystemMemoryGiB": 64 * _DIMMS},
            **{name: {"@odata.id": f"{base}/{name}"} for name in _READERS},
            "Links": {"ManagedBy": [{"@odata.id": self._manager}]},
            "Actions": {
                "#ComputerSystem.Reset": {**reset, "ResetType@Redfish.AllowableValues": _ALLOWED}
            },
        }

    def _manages(self, rest: str) -> Json | None:
        base = self._manager
        if not rest:
            return {
                "@odata.id": base,
                "Id": self.id,
                "ManagerType": "BMC",
                "FirmwareVersion": "1.0",
                "VirtualMedia": {"@odata.id": f"{base}/VirtualMedia"},
            }
        if rest == "VirtualMedia":
            return _members(f"{base}/{rest}", list(self._media))
        kind, _, name = rest.partition("/")
        if kind != "VirtualMedia" or name not in self._media:
            return None
        actions = f"{base}/{rest}/Actions"
        image = self._media[name]
        return {
            "@odata.id": f"{base}/{rest}",
            "Id": name,
            "MediaTypes": ["CD", "DVD"],
            "Image": image or None,
            "Inserted": bool(image),
            "ConnectedVia": "URI" if image else "NotConnected",
            "Actions": {
                f"#VirtualMedia.{act}": {"target": f"{actions}/VirtualMedia.{act}"}
                for act in ("InsertMedia", "EjectMedia")
            },
        }

    # -- writing -----------------------------------------------------------------------------

    def _patch(self, body: Json) -> Answer:
        boot = body.get("Boot")
        if not isinstance(boot, dict):
            return refusal(400, "only Boot can be changed")
        self._boot.update(boot)
        self.applied["patch:Boot"] += 1
        return Answer(204)

    def _act(self, rest: str, body: Json) -> Answer:
        match rest.split("/"):
            case ["Actions", "ComputerSystem.Reset"]:
                return self._reset(str(body.get("ResetType")))
            case ["VirtualMedia", name, "Actions", act] if name in self._media:
                return self._change_media(name, act, body)
        return NOT_FOUND

    def _reset(self, kind: str) -> Answer:
        if kind not in _ALLOWED:
            return refusal(400, f"ResetType {kind} is not supported")
        self.applied[f"reset:{kind}"] += 1
        if kind in _TARGETS:
            now = self.power
            self._target = _TARGETS[kind]
            if now != self._target:
                self._power = now if now in ("On", "Off") else self._power
                self._due = asyncio.get_running_loop().time() + self._power_s
        if self._boot["BootSourceOverrideEnabled"] == "Once" and kind != "ForceOff":
            self._boot["BootSourceOverrideEnabled"] = "Disabled"
        return Answer(204)

    def _change_media(self, name: str, act: str, body: Json) -> Answer:
        if act == "VirtualMedia.InsertMedia":
            image = body.get("Image")
            if not isinstance(image, str) or not urlsplit(image).scheme:
                return refusal(400, "Image is no URL")
            if self._media[name]:
                return refusal(400, "the drive is not empty")
            self._media[name] = image
            self.applied["insert"] += 1
            return Answer(204)
        if act != "VirtualMedia.EjectMedia":
            return NOT_FOUND
        if self._media[name]:
            self._media[name] = ""
            self.applied["eject"] += 1
        return Answer(204)


Reader = Callable[[str, str, int], Json | None]


def _collection(prefix: str, count: int, member: Callable[[str, int, int], Json]) -> Reader:
    """Read a collection of so many like members, or one of them."""

    def read(path: str, item: str, machine: int) -> Json | None:
        if not item:
            return _members(path, [f"{prefix}{n}" for n in range(count)])
        digits = item.removeprefix(prefix)
        if not digits.isdecimal() or int(digits) >= count:
            return None
        present = {"State": "Enabled", "Health": "OK"}
        named = {"@odata.id": f"{path}/{item}", "Id": item, "Name": item, "Status": present}
        return {**named, **member(path, machine, int(digits))}

    return read


def _processor(path: str, machine: int, number: int) -> Json:
    return {"ProcessorType": "CPU", "Model": "Simulated CPU", "TotalCores": 32, "TotalThreads": 64}


def _dimm(path: str, machine: int, number: int) -> Json:
    return {"CapacityMiB": 65_536, "MemoryDeviceType": "DDR5"}


def _nic(path: str, machine: int, number: int) -> Json:
    tail = machine * _NICS + number
    mac = "02:53:" + ":".join(f"{tail >> shift & 0xFF:02x}" for shift in (24, 16, 8, 0))
    return {
        "MACAddress": mac,
        "PermanentMACAddress": mac,
        "SpeedMbps": 25_000,
        "LinkStatus": "LinkUp",
    }


def _drive(path: str, machine: int, number: int) -> Json:
    return {"CapacityBytes": 960_197_124_096, "MediaType": "SSD", "Protocol": "NVMe", "Model": "D1"}


_drives = _collection("Disk", _DRIVES, _drive)


def _storage(path: str, item: str, machine: int) -> Json | None:
    if not item:
        return _members(path, ["Raid1"])
    unit, _, below = item.partition("/")
    if unit != "Raid1":
        return None
    if below:
        kind, _, drive = below.partition("/")
        return _drives(f"{path}/{unit}/Drives", drive, machine) if kind == "Drives" else None
    drives = [{"@odata.id": f"{path}/{unit}/Drives/Disk{n}"} for n in range(_DRIVES)]
    return {"@odata.id": f"{path}/{unit}", "Id": unit, "Drives": drives}


_READERS: Mapping[str, Reader] = {
    "Processors": _collection("CPU", _CPUS, _processor),
    "Memory": _collection("DIMM", _DIMMS, _dimm),
    "EthernetInterfaces": _collection("NIC", _NICS, _nic),
    "Storage": _storage,
}
