"""Processors, accelerators and memory as a BMC describes them, read without trust.

Each function takes one resource's body, whatever that is, and returns something small: nothing
that a BMC sent is kept for longer than it takes to read it.
"""

import re

import msgspec

from mulligan.events.machine import Accelerator
from mulligan.redfish.answers import Json, items, section, text, whole
from mulligan.redfish.descriptions import absent, amount, mebibytes, told
from mulligan.redfish.quirks import vendor_of

_ARCHITECTURES = {
    "x86-64": "x86_64", "x86": "x86_64", "arm-a64": "aarch64", "arm": "aarch64",
    "powerisa": "ppc64le", "power": "ppc64le", "rv64": "riscv64", "risc-v": "riscv64",
    "mips64": "mips64", "ia-64": "ia64",
}  # fmt: skip
_MODELS = {
    "x86_64": ("xeon", "epyc", "intel", "amd", "opteron", "ryzen"),
    "aarch64": ("ampere", "altra", "grace", "neoverse", "cortex", "arm", "kunpeng"),
    "ppc64le": ("power9", "power10"),
}
ACCELERATORS = ("GPU", "FPGA", "DSP", "Accelerator")
_GPU_MEMORY = ("hbm", "gddr", "ddr")
_GPU_VENDORS = ("NVIDIA", "AMD", "Intel")
_GPU_NAME = re.compile(
    r"(?i)\b(gpu|tesla|quadro|instinct|radeon pro|data center gpu|3d controller"
    r"|[AHLBTV]\d{1,3}[A-Z]{0,2}|MI\d{2,3}[AX]?)\b"
)


class Processor(msgspec.Struct, frozen=True, kw_only=True):
    """A processor or accelerator; memory in bytes."""

    id: str = ""
    kind: str = "CPU"
    vendor: str = ""
    model: str = ""
    arch: str = ""
    cores: int = 0
    threads: int = 0
    memory_bytes: int = 0


def processor_of(body: Json) -> Processor | None:
    """Read a Processor."""
    if absent(body):
        return None
    model = told(body.get("Model")) or told(body.get("Name"))
    vendor_id = text(section(body, "ProcessorId").get("VendorId"))
    return Processor(
        id=text(body.get("Id")),
        kind=text(body.get("ProcessorType")) or "CPU",
        vendor=vendor_of(told(body.get("Manufacturer")), vendor_id, model),
        model=model,
        arch=_arch(body, model),
        cores=amount(body.get("TotalCores")),
        threads=amount(body.get("TotalThreads")),
        memory_bytes=_own_memory(body),
    )


def _arch(body: Json, model: str) -> str:
    for key in ("InstructionSet", "ProcessorArchitecture"):
        known = _ARCHITECTURES.get(text(body.get(key)).lower())
        if known:
            return known
    return arch_of_model(f"{text(body.get('Manufacturer'))} {model}")


def arch_of_model(model: str) -> str:
    """Return the architecture that a processor's name gives away, if it does."""
    name = model.lower()
    found = (arch for arch, words in _MODELS.items() if any(word in name for word in words))
    return next(found, "")


def _own_memory(body: Json) -> int:
    total = mebibytes(section(body, "MemorySummary").get("TotalMemorySizeMiB"))
    if total:
        return total
    own = [section(part) for part in items(body.get("ProcessorMemory"))[:16]]
    return sum(
        mebibytes(part.get("CapacityMiB"))
        for part in own
        if text(part.get("MemoryType")).lower().startswith(_GPU_MEMORY)
    )


def accelerator_of(processor: Processor) -> Accelerator:
    """Return a processor that is no CPU as an accelerator."""
    return Accelerator(
        id=processor.id,
        kind=processor.kind,
        vendor=processor.vendor,
        model=processor.model,
        memory_bytes=processor.memory_bytes,
    )


def pcie_accelerator_of(body: Json) -> Accelerator | None:
    """Read a PCIeDevice, None unless it is a GPU: few BMCs give the kind, most just a name."""
    names = " ".join(text(body.get(key)) for key in ("Name", "Description", "Model"))
    vendor = vendor_of(told(body.get("Manufacturer")), names)
    by_name = vendor in _GPU_VENDORS and _GPU_NAME.search(names) is not None
    if absent(body) or not (text(body.get("DeviceType")) == "GPU" or by_name):
        return None
    return Accelerator(
        id=text(body.get("Id")),
        kind="GPU",
        vendor=vendor,
        model=told(body.get("Model")) or text(body.get("Name")),
    )


class Module(msgspec.Struct, frozen=True, kw_only=True):
    """A memory module; size in bytes."""

    bytes: int = 0
    ecc: bool = False


def module_of(body: Json) -> Module | None:
    """Read a Memory, None for an empty slot."""
    size = mebibytes(body.get("CapacityMiB"))
    if absent(body) or not size:
        return None
    correction = text(body.get("ErrorCorrection"))
    wider = whole(body.get("BusWidthBits")) > whole(body.get("DataWidthBits")) > 0
    return Module(bytes=size, ecc=("ECC" in correction and correction != "NoECC") or wider)
