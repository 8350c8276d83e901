"""The words for the parts of a machine, whatever a vendor's messages and paths call them.

The words: power-supply, memory, storage, processor, fan, temperature, network, pcie, firmware,
security, power, other.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

OTHER = "other"

_SEGMENTS: Mapping[str, str] = MappingProxyType(
    {
        "powersupplies": "power-supply",
        "memory": "memory",
        "storage": "storage",
        "simplestorage": "storage",
        "smartstorage": "storage",
        "storagecontrollers": "storage",
        "drives": "storage",
        "volumes": "storage",
        "processors": "processor",
        "fans": "fan",
        "temperatures": "temperature",
        "ethernetinterfaces": "network",
        "networkadapters": "network",
        "networkinterfaces": "network",
        "networkports": "network",
        "pciedevices": "pcie",
        "pcieslots": "pcie",
        "bios": "firmware",
        "firmwareinventory": "firmware",
        "updateservice": "firmware",
        "secureboot": "security",
        "sessionservice": "security",
        "accountservice": "security",
        "voltages": "power",
        "batteries": "power",
        "power": "power",
        "powersubsystem": "power",
        "thermal": "temperature",
        "thermalsubsystem": "temperature",
    }
)
"""Names of Redfish collections and resources, as they stand in paths, in lower case."""

_DELL: Mapping[str, str] = MappingProxyType(
    {
        "AMP": "power",
        "BAT": "power",
        "BIOS": "firmware",
        "CPU": "processor",
        "CPUA": "processor",
        "CTL": "storage",
        "ENC": "storage",
        "FAN": "fan",
        "LNK": "network",
        "MEM": "memory",
        "NDR": "network",
        "NIC": "network",
        "PCI": "pcie",
        "PDR": "storage",
        "PSU": "power-supply",
        "PSUA": "power-supply",
        "PWR": "power",
        "RDU": "power",
        "RED": "firmware",
        "SEC": "security",
        "SRD": "storage",
        "SSD": "storage",
        "STOR": "storage",
        "SUP": "firmware",
        "SWU": "firmware",
        "TMP": "temperature",
        "TMPS": "temperature",
        "UEFI": "firmware",
        "USR": "security",
        "VDR": "storage",
        "VLT": "power",
    }
)
"""Letters before the number in an iDRAC's message ids, as in ``PSU0003``."""

_LENOVO: Mapping[str, str] = MappingProxyType(
    {
        "CA": "temperature",
        "FW": "firmware",
        "IO": "pcie",
        "MA": "memory",
        "NM": "network",
        "PP": "power",
        "PU": "processor",
        "PW": "power",
        "SD": "storage",
        "SE": "security",
        "UP": "firmware",
    }
)
"""Letters after ``FQXSP`` in an XCC's message ids, as in ``FQXSPPW0001I``."""

_FRAGMENTS: tuple[tuple[str, str], ...] = (
    ("powersupply", "power-supply"),
    ("dimm", "memory"),
    ("memory", "memory"),
    ("drive", "storage"),
    ("storage", "storage"),
    ("raid", "storage"),
    ("volume", "storage"),
    ("disk", "storage"),
    ("processor", "processor"),
    ("temperature", "temperature"),
    ("thermal", "temperature"),
    ("ethernet", "network"),
    ("network", "network"),
    ("pcie", "pcie"),
    ("firmware", "firmware"),
    ("secureboot", "security"),
    ("bios", "firmware"),
    ("intrusion", "security"),
    ("login", "security"),
    ("logon", "security"),
    ("session", "security"),
    ("security", "security"),
    ("voltage", "power"),
)
"""Parts of a message's name, in lower case; the first that occurs decides."""

_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "psu": "power-supply",
        "ecc": "memory",
        "ssd": "storage",
        "nvme": "storage",
        "cpu": "processor",
        "gpu": "processor",
        "fan": "fan",
        "fans": "fan",
        "nic": "network",
        "link": "network",
        "pci": "pcie",
        "power": "power",
        "powered": "power",
    }
)
"""Whole words of a message's name, in lower case, for what is too short to search for."""

_REGISTRIES: Mapping[str, str] = MappingProxyType(
    {
        "Environmental": "temperature",
        "NetworkDevice": "network",
        "Power": "power",
        "StorageDevice": "storage",
        "Update": "firmware",
    }
)
"""Standard registries whose messages are all about one thing."""

_GENERIC = frozenset({"Base", "ResourceEvent", "SensorEvent", "TaskEvent"})
"""Standard registries whose messages are about any resource: its path says of what kind."""

_CODE = re.compile(r"([A-Z]{2,5})\d{1,5}\Z")
_LENOVO_CODE = re.compile(r"FQXSP([A-Z]{2})\w{4,8}\Z")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def kind_of(message_id: str, origin: str) -> str:
    """Return the word for what a message is about, by its id and its origin's path."""
    registry = message_id.partition(".")[0]
    if registry in _GENERIC:
        return kind_of_path(origin) or _of_name(message_id) or OTHER
    return _of_name(message_id) or kind_of_path(origin) or _REGISTRIES.get(registry) or OTHER


def kind_of_path(path: str) -> str:
    """Return the word for a resource by its path; empty for one that is about the whole."""
    for segment in reversed(path.lower().replace("#", "/").split("/")):
        if segment in _SEGMENTS:
            return _SEGMENTS[segment]
    return ""


def part_name(kind: str, path: str) -> str:
    """Return how a part is called: its kind and, where the path is that of one part, its id."""
    head, _, last = path.rstrip("/").replace("#", "/").rpartition("/")
    own = kind_of_path(head) and last.lower() not in _SEGMENTS
    return f"{kind}/{last}" if own and last else kind


def _of_name(message_id: str) -> str:
    name = message_id.rpartition(".")[2]
    code = _CODE.match(name)
    if code is not None:
        return _DELL.get(code[1], "")
    lenovo = _LENOVO_CODE.match(name)
    if lenovo is not None:
        return _LENOVO.get(lenovo[1], "")
    lowered = name.lower()
    for fragment, word in _FRAGMENTS:
        if fragment in lowered:
            return word
    words = (word.lower() for word in _CAMEL.findall(name))
    return next((_WORDS[word] for word in words if word in _WORDS), "")
