import msgspec

from mulligan.events.machine import Accelerator, Disk, FactChange, Facts, Firmware, Nic
from mulligan.events.provider import Inventory
from mulligan.handlers.capabilities import STANDARD
from mulligan.handlers.hardware import capabilities_of, children_of, difference, inventories_of
from mulligan.handlers.names import slug_of
from mulligan.handlers.provider import check_class, check_inventory
from mulligan.model import ResourceClass

FULL = Facts(
    serial="S1",
    arch="x86_64",
    cpu_vendor="AMD",
    cpu_sockets=2,
    cpu_cores=64,
    cpu_threads=128,
    memory_bytes=2**38,
    memory_ecc=True,
    nics=(
        Nic(id="NIC.Slot.1-1", mac="00:00:5e:00:53:01", speed_mbps=25_000, link="LinkUp"),
        Nic(id="NIC.Slot.1-2", mac="00:00:5e:00:53:02"),
        Nic(id="no address"),
    ),
    disks=(
        Disk(id="0", bytes=10, media="SSD", protocol="NVMe", serial="D0", encrypts=True),
        Disk(id="1", bytes=20, media="HDD", protocol="SAS", serial="D1"),
    ),
    accelerators=(
        Accelerator(id="GPU.1", kind="GPU", vendor="NVIDIA", model="H100", memory_bytes=80),
        Accelerator(id="F", kind="FPGA"),
    ),
    firmware=(Firmware(name="BIOS", version="1.0"),),
    boot_targets=("Pxe", "Cd"),
    boot_modes=("UEFI", "Legacy"),
    http_boot=True,
    cd_drives=2,
    secure_boot=True,
    tpm="2.0",
    raid=True,
    power_supplies=2,
)


def changed(**fields: object) -> tuple[FactChange, ...]:
    return difference(FULL, msgspec.structs.replace(FULL, **fields))


def test_a_machine_offers_itself_its_threads_memory_and_disks() -> None:
    assert inventories_of(FULL) == {
        "machine": Inventory(total=1),
        "cpu.dedicated": Inventory(total=128),
        "memory": Inventory(total=2**38),
        "storage.block": Inventory(total=30),
    }
    assert inventories_of(Facts(cpu_cores=4)) == {
        "machine": Inventory(total=1),
        "cpu.dedicated": Inventory(total=4),
    }


def test_what_a_lying_bmc_claims_stays_within_64_bits() -> None:
    huge = 2**63 - 1
    facts = Facts(
        disks=tuple(Disk(id=str(n), bytes=huge) for n in range(3)),
        nics=(Nic(id="1", mac="00:00:5e:00:53:01", speed_mbps=huge),),
    )
    for inventories in (inventories_of(facts), *(c.inventories for c in children_of(facts))):
        for class_, inventory in inventories.items():
            check_inventory(inventory, class_)


def test_capabilities_are_those_of_the_catalogue_that_the_facts_show() -> None:
    found = capabilities_of(FULL)
    assert set(found) <= set(STANDARD)
    assert found == (
        "boot.bios",
        "boot.http",
        "boot.pxe",
        "boot.secure",
        "boot.uefi",
        "boot.virtual_media",
        "hw.arch.x86_64",
        "hw.cpu.amd",
        "hw.cpu.hyperthreading",
        "hw.gpu.nvidia",
        "hw.memory.ecc",
        "hw.numa",
        "hw.tpm.2_0",
        "power.redundant",
        "storage.hdd",
        "storage.nvme",
        "storage.raid",
        "storage.self_encrypting",
        "storage.ssd",
    )
    assert capabilities_of(Facts(arch="vax", cpu_vendor="DEC", tpm="1.2")) == ()


def test_accelerators_and_addressed_interfaces_are_providers_below() -> None:
    gpu, fpga, fast, slow = children_of(FULL)
    assert (gpu.key, gpu.inventories) == ("gpu-1", {"gpu": Inventory(total=1)})
    assert gpu.capabilities == ("hw.gpu.nvidia",)
    assert gpu.attributes["model"] == "H100"
    assert fpga.inventories == {"custom.fpga": Inventory(total=1)}
    assert (fast.key, fast.attributes["mac"]) == ("nic-slot-1-1", "00:00:5e:00:53:01")
    assert fast.inventories == {"network.bandwidth": Inventory(total=25_000_000_000)}
    assert slow.inventories == {}
    for child in (gpu, fpga, fast, slow):
        assert slug_of(child.key) == child.key
        for class_ in child.inventories:
            check_class(ResourceClass(class_), "class")


def test_children_have_keys_of_their_own_and_are_bounded() -> None:
    nics = tuple(Nic(id="#", mac=f"00:00:5e:00:53:{n:02x}") for n in range(100))
    keys = [child.key for child in children_of(Facts(nics=nics))]
    assert keys[:2] == ["nic-x", "nic-x-2"]
    assert len(set(keys)) == len(keys) == 64


def test_a_part_keeps_its_key_when_another_one_goes() -> None:
    without = msgspec.structs.replace(FULL, nics=FULL.nics[1:])
    assert "nic-slot-1-2" in {child.key for child in children_of(without)}


def test_a_first_inspection_and_an_equal_one_change_nothing() -> None:
    assert difference(None, FULL) == ()
    assert difference(FULL, FULL) == ()


def test_parts_that_came_went_or_changed_are_told() -> None:
    other = Disk(id="1", bytes=40, media="HDD", protocol="SAS", serial="D2", model="M")
    assert changed(disks=(FULL.disks[0], other), memory_bytes=2**39, memory_ecc=False) == (
        FactChange(what="memory_bytes", before=str(2**38), after=str(2**39)),
        FactChange(what="memory_ecc", before="yes", after="no"),
        FactChange(what="disk D1", before="20 bytes HDD SAS"),
        FactChange(what="disk D2", after="M 40 bytes HDD SAS"),
    )
    moved = msgspec.structs.replace(FULL.nics[0], id="NIC.Slot.2-1")
    assert changed(nics=(moved, *FULL.nics[1:])) == (
        FactChange(what="nic 00:00:5e:00:53:01", before="NIC.Slot.1-1", after="NIC.Slot.2-1"),
    )
    assert changed(firmware=(Firmware(name="BIOS", version="1.1"),)) == (
        FactChange(what="firmware BIOS", before="1.0", after="1.1"),
    )


def test_health_links_and_the_order_of_parts_are_no_changes() -> None:
    down = msgspec.structs.replace(FULL.nics[0], link="LinkDown", speed_mbps=0)
    assert changed(nics=(*FULL.nics[1:], down), health="critical", missing=("X",)) == ()
    assert changed(disks=FULL.disks[::-1]) == ()


def test_what_the_bmc_did_not_offer_this_time_is_not_taken_for_gone() -> None:
    blind = {"disks": (), "raid": False, "memory_bytes": 0, "memory_ecc": False}
    assert changed(**blind, missing=("Memory", "Storage")) == ()
    assert len(changed(**blind)) == 5
    without = msgspec.structs.replace(FULL, **blind, missing=("Memory", "Storage"))
    assert difference(without, FULL) == ()


def test_a_difference_is_bounded() -> None:
    many = tuple(Disk(id=f"{n:03}", model="x" * 500) for n in range(200))
    changes = changed(disks=many)
    assert len(changes) == 64
    assert all(len(change.after) <= 200 for change in changes)
