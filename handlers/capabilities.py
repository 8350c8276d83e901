"""The standard catalogue of capabilities: what a tag means, the same in every region.

A capability says yes or no. Sizes and counts are inventories. What is not here is ``custom.*``.
"""

from collections.abc import Iterable, Mapping

from mulligan.events.request import CapabilityDemand

STANDARD: Mapping[str, str] = {
    "boot.bios": "Boots in legacy BIOS mode",
    "boot.http": "Boots from an HTTP URL (UEFI HTTP boot)",
    "boot.pxe": "Boots from the network by PXE",
    "boot.secure": "UEFI secure boot can be enforced",
    "boot.uefi": "Boots in UEFI mode",
    "boot.virtual_media": "The BMC offers virtual media",
    "firmware.bios_settings": "BIOS settings can be changed through the BMC",
    "firmware.update": "Firmware can be updated through the BMC",
    "hw.arch.aarch64": "64-bit Arm",
    "hw.arch.ppc64le": "64-bit POWER, little endian",
    "hw.arch.riscv64": "64-bit RISC-V",
    "hw.arch.x86_64": "64-bit x86",
    "hw.cpu.amd": "AMD processors",
    "hw.cpu.ampere": "Ampere processors",
    "hw.cpu.arm.sve": "Arm scalable vector extension",
    "hw.cpu.arm.sve2": "Arm scalable vector extension 2",
    "hw.cpu.hyperthreading": "Simultaneous multithreading is on",
    "hw.cpu.intel": "Intel processors",
    "hw.cpu.virtualization": "Hardware virtualization (VT-x, AMD-V, Arm EL2)",
    "hw.cpu.x86.aesni": "AES instructions",
    "hw.cpu.x86.amx": "Intel advanced matrix extensions",
    "hw.cpu.x86.avx": "AVX",
    "hw.cpu.x86.avx2": "AVX2",
    "hw.cpu.x86.avx512f": "AVX-512 foundation",
    "hw.cpu.x86.avx512vnni": "AVX-512 vector neural network instructions",
    "hw.cpu.x86.sev": "AMD secure encrypted virtualization",
    "hw.cpu.x86.sev_snp": "AMD SEV with secure nested paging",
    "hw.cpu.x86.sgx": "Intel software guard extensions",
    "hw.cpu.x86.sha": "SHA instructions",
    "hw.cpu.x86.sse4_2": "SSE 4.2",
    "hw.cpu.x86.tdx": "Intel trust domain extensions",
    "hw.gpu.amd": "AMD GPUs",
    "hw.gpu.intel": "Intel GPUs",
    "hw.gpu.mig": "GPUs can be split into instances",
    "hw.gpu.nvidia": "NVIDIA GPUs",
    "hw.gpu.nvlink": "GPUs are joined by NVLink",
    "hw.memory.ecc": "Error-correcting memory",
    "hw.memory.hugepages": "Huge pages are set aside",
    "hw.memory.persistent": "Persistent memory",
    "hw.nic.dpu": "A data processing unit",
    "hw.nic.infiniband": "InfiniBand",
    "hw.nic.offload.geneve": "Geneve offload",
    "hw.nic.offload.vxlan": "VXLAN offload",
    "hw.nic.rdma": "RDMA (RoCE or iWARP)",
    "hw.nic.sriov": "Single-root I/O virtualization",
    "hw.numa": "More than one NUMA node",
    "hw.tpm.2_0": "A TPM 2.0",
    "network.bonding": "NICs are cabled to be bonded",
    "network.ipv6": "Reachable by IPv6",
    "network.redundant": "Cabled to two switches",
    "power.metered": "Its power draw is metered",
    "power.redundant": "Fed by two power feeds",
    "storage.hdd": "Rotating disks",
    "storage.nvme": "NVMe disks",
    "storage.raid": "A RAID controller",
    "storage.self_encrypting": "Self-encrypting disks",
    "storage.ssd": "Solid-state disks",
}


def has(capabilities: Iterable[str], demand: CapabilityDemand) -> bool:
    """Whether the capabilities meet the demand."""
    if not (demand.require or demand.forbid or demand.any_of):
        return True
    own = frozenset(capabilities)
    return (
        own.issuperset(demand.require)
        and own.isdisjoint(demand.forbid)
        and not any(own.isdisjoint(choice) for choice in demand.any_of)
    )
