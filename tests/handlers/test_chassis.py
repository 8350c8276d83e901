"""What inspection finds: which chassis a machine is, what it offers, the components below it."""

import pytest

from mulligan.errors import FailedPrecondition
from mulligan.events import machine as ev
from mulligan.events.machine import Accelerator, Disk, Facts, Nic
from mulligan.events.provider import CapabilitiesSet, InventoriesSet, Inventory
from mulligan.handlers import components, provider_commands, serial, upkeep
from mulligan.handlers import operations as ops
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.deployment import DeployMachine
from mulligan.handlers.enrolment import DeleteMachine
from mulligan.handlers.provider import DoesNotFit
from mulligan.model import (
    ClaimId,
    CommitId,
    MachineId,
    ProviderId,
    ResourceClass,
    StreamId,
    stream_id,
)

from .given import C1, M1, MACHINE, MEMORY, OS, Given, claim_of, types

GPU = ResourceClass("gpu")
ROOT = ProviderId(M1)
FORCE = DeleteMachine(machine=M1, force=True, reason="burnt")


def inspect(given: Given, key: str = M1) -> None:
    command = ops.InspectMachine(machine=MachineId(key), operation=CommitId(given.fresh("look")))
    given.do(command)
    given.finish(key)


def provide(given: Given, key: str = M1) -> None:
    command = ops.ProvideMachine(machine=MachineId(key), operation=CommitId(given.fresh("clean")))
    given.do(command)
    given.finish(key)


def chassis(given: Given, facts: Facts) -> serial.Serial:
    stream = serial.serial_stream(facts)
    assert stream is not None
    state: serial.Serial = given.states[stream]
    return state


@pytest.mark.parametrize(
    ("maker", "number", "stream"),
    [
        ("Dell Inc.", "7XK9F3", "serial/dell-inc./7xk9f3"),
        ("", " S 1/2 ", "serial/unknown/s-1-2"),
        ("HPE", "CZ2-0001", "serial/hpe/cz2-0001"),
    ],
)
def test_a_chassis_is_known_by_its_maker_and_serial_number(
    maker: str, number: str, stream: str
) -> None:
    assert serial.serial_stream(Facts(manufacturer=maker, serial=number)) == StreamId(stream)


@pytest.mark.parametrize(
    "number",
    [
        "", "  ", "-", "x1", "None", "NULL", "N/A", "Not Specified", "not available", "Unknown",
        "Default string", "To be filled by O.E.M.", "System Serial Number", "0123456789",
        "000000", "0.0.0", "0-0-0",
    ],
)  # fmt: skip
def test_what_makers_write_where_there_is_no_serial_number_is_none(number: str) -> None:
    assert serial.serial_stream(Facts(manufacturer="Acme", serial=number)) is None


def test_machines_without_a_serial_number_are_told_apart_by_their_bmcs_alone() -> None:
    given = Given()
    for key in ("m1", "m2"):
        given.hardware[key] = Facts(serial="To be filled by O.E.M.", memory_bytes=10)
        given.available(key)
    assert given.machine("m2").state == "available"


def test_one_chassis_is_not_two_machines() -> None:
    given = Given()
    given.available()
    given.enrolled("m2")
    given.hardware["m2"] = given.facts(M1)
    inspect(given, "m2")
    machine = given.machine("m2")
    assert (machine.state, machine.failed, machine.facts) == ("failed", "inspect", None)
    assert machine.fault is not None
    assert machine.fault.fault == "duplicate-serial" and "machine m1" in machine.fault.message
    assert given.provider("m2").inventories == {}
    given.do(DeleteMachine(machine=MachineId("m2")))
    assert chassis(given, given.facts(M1)).machine == M1, "who had it has it still"
    given.do(ops.ManageMachine(machine=M1))
    inspect(given)
    assert given.machine().state == "manageable"


def test_a_chassis_is_free_again_once_its_machine_is_deleted() -> None:
    given = Given()
    given.available()
    given.do(ops.ManageMachine(machine=M1))
    assert "serial.freed" in types(given.do(DeleteMachine(machine=M1)))
    given.hardware["m2"] = given.facts(M1)
    given.available("m2")
    assert chassis(given, given.facts("m2")).machine == "m2"


def test_a_machine_in_another_chassis_frees_the_one_before() -> None:
    given = Given()
    given.available()
    before = given.facts(M1)
    given.hardware[M1] = Facts(manufacturer="Acme", serial="NEW1", memory_bytes=10)
    given.do(ops.ManageMachine(machine=M1))
    inspect(given)
    assert (chassis(given, before).machine, chassis(given, given.facts()).machine) == ("", M1)
    given.hardware["m2"] = before
    given.available("m2")


@pytest.mark.parametrize("failed", [False, True])
def test_what_was_deleted_with_data_on_it_is_known_again_and_cleaned_before_use(
    failed: bool,
) -> None:
    given = Given()
    given.active()
    given.do(FORCE)
    known = chassis(given, given.facts(M1))
    assert (known.machine, known.abandoned, known.reason) == ("", True, "burnt")
    given.hardware["m2"] = given.facts(M1)
    given.enrolled("m2")
    inspect(given, "m2")
    assert given.machine("m2").unwiped
    with pytest.raises(FailedPrecondition, match="never cleaned"):
        given.do(DeleteMachine(machine=MachineId("m2")))
    if failed:
        given.do(ops.ProvideMachine(machine=MachineId("m2"), operation=CommitId("c")))
        given.fail("m2")
        assert chassis(given, known_facts(given)).abandoned
        given.do(ops.ManageMachine(machine=MachineId("m2")))
    with pytest.raises(DoesNotFit):
        given.claimed("m2", claim="c2")
    provide(given, "m2")
    assert not chassis(given, known_facts(given)).abandoned
    assert not given.machine("m2").unwiped
    given.claimed("m2", claim="c2")


def known_facts(given: Given) -> Facts:
    return given.facts("m2")


def test_what_was_abandoned_twice_is_still_known() -> None:
    given = Given()
    given.active()
    given.do(FORCE)
    for key in ("m2", "m3"):
        given.hardware[key] = given.facts(M1)
        given.enrolled(key)
        inspect(given, key)
        given.do(DeleteMachine(machine=MachineId(key), force=True, reason="again"))
    assert chassis(given, given.facts(M1)).abandoned


def test_what_was_deleted_by_force_but_clean_needs_no_cleaning() -> None:
    given = Given()
    given.available()
    given.do(FORCE)
    assert not chassis(given, given.facts(M1)).abandoned
    given.hardware["m2"] = given.facts(M1)
    given.enrolled("m2")
    inspect(given, "m2")
    assert not given.machine("m2").unwiped


def test_hardware_that_changed_is_told() -> None:
    given = Given()
    given.available()
    given.do(ops.ManageMachine(machine=M1))
    inspect(given)
    old = given.facts()
    given.hardware[M1] = Facts(
        serial=old.serial, cpu_threads=8, memory_bytes=2**31, disks=old.disks
    )
    given.do(ops.InspectMachine(machine=M1, operation=CommitId("look")))
    while given.operation().step:
        given.step()
    changed = [e for e in given.complete() if isinstance(e, ev.HardwareChanged)]
    assert [c.what for c in changed[0].changes] == ["memory_bytes"]
    assert given.provider(M1).inventories[MEMORY].total == 2**31


def test_what_operators_set_on_an_inventory_outlives_an_inspection() -> None:
    given = Given()
    given.available()
    given.do(ops.ManageMachine(machine=M1))
    shaped = Inventory(total=2**30, reserved=2**29, step_size=64, allocation_ratio=2.0)
    inventories = {**given.provider(M1).inventories, MEMORY: shaped}
    given.happened("provider", M1, InventoriesSet(inventories=inventories))
    given.hardware[M1] = Facts(serial="S-m1", memory_bytes=2**28)
    inspect(given)
    found = given.provider(M1).inventories[MEMORY]
    assert (found.total, found.reserved) == (2**28, 2**28)
    assert (found.step_size, found.allocation_ratio) == (64, 2.0)


def test_a_capability_that_is_no_longer_found_goes_and_an_operators_stays() -> None:
    given = Given()
    given.hardware[M1] = Facts(serial="S-m1", disks=(Disk(id="0", bytes=1, media="SSD"),))
    given.available()
    given.do(ops.ManageMachine(machine=M1))
    assert given.provider(M1).capabilities == ("storage.ssd",)
    both = ("custom.loud", "storage.ssd")
    given.happened("provider", M1, CapabilitiesSet(capabilities=both))
    given.hardware[M1] = Facts(serial="S-m1", disks=(Disk(id="0", bytes=1, media="HDD"),))
    inspect(given)
    assert given.provider(M1).capabilities == ("custom.loud", "storage.hdd")


CARD = Accelerator(id="GPU.1", kind="GPU", vendor="NVIDIA", model="H100", memory_bytes=80 * 2**30)
PORT = Nic(id="NIC.1", mac="02:00:00:00:00:01", speed_mbps=25_000)
DISK = Disk(id="0", bytes=10**9, serial="D")


def with_parts(*cards: Accelerator, nics: tuple[Nic, ...] = (PORT,)) -> Facts:
    return Facts(serial="S-m1", memory_bytes=2**30, disks=(DISK,), accelerators=cards, nics=nics)


def with_card() -> Given:
    """A machine that was inspected, with a GPU and a network port, and is offered."""
    given = Given()
    given.hardware[M1] = with_parts(CARD)
    given.available()
    return given


def parts(given: Given) -> dict[str, ProviderId]:
    """The machine's components by name."""
    return {given.provider(c).name: c for c in given.provider(M1).children}


def card(given: Given) -> ProviderId:
    (found,) = (c for name, c in parts(given).items() if "gpu" in name)
    return found


def test_components_are_providers_below_the_machine_with_names_of_their_own() -> None:
    given = with_card()
    gpu = given.provider(card(given))
    assert (gpu.type, gpu.parent, gpu.ancestors) == ("component", ROOT, (ROOT,))
    assert gpu.attributes["model"] == "H100" and gpu.attributes[components.KEY]
    assert gpu.inventories[GPU].total == 1 and "hw.gpu.nvidia" in gpu.capabilities
    assert len(parts(given)) == 2 and all(name.startswith("m1-") for name in parts(given))
    given.do(claim_of({gpu.id: {GPU: 1}}))


def test_components_are_the_same_after_each_inspection() -> None:
    given = with_card()
    before = parts(given)
    given.do(ops.ManageMachine(machine=M1))
    given.do(ops.InspectMachine(machine=M1, operation=CommitId("look")))
    while given.operation().step:
        given.step()
    assert types(given.complete()) == ["machine.operation_completed"]
    assert parts(given) == before


def test_a_component_that_changed_is_updated_and_keeps_what_operators_set() -> None:
    given = with_card()
    gpu = card(given)
    reserved = {GPU: Inventory(total=1, reserved=1)}
    given.happened("provider", gpu, InventoriesSet(inventories=reserved))
    port = next(c for name, c in parts(given).items() if "nic" in name)
    bandwidth = ResourceClass("network.bandwidth")
    halved = {bandwidth: Inventory(total=25_000 * 10**6, reserved=10**9)}
    given.happened("provider", port, InventoriesSet(inventories=halved))
    given.do(ops.ManageMachine(machine=M1))
    faster = Nic(id=PORT.id, mac=PORT.mac, speed_mbps=100_000)
    newer = Accelerator(id=CARD.id, kind="GPU", vendor="NVIDIA", model="H200")
    given.hardware[M1] = with_parts(newer, nics=(faster,))
    inspect(given)
    assert given.provider(gpu).attributes["model"] == "H200"
    assert given.provider(gpu).inventories == reserved
    found = given.provider(port).inventories[bandwidth]
    assert (found.total, found.reserved) == (100_000 * 10**6, 10**9)


def test_a_component_that_is_gone_takes_no_claims_until_it_is_back() -> None:
    given = with_card()
    gpu = card(given)
    given.do(claim_of({gpu: {GPU: 1}}, claim="on-it"))
    given.do(ops.ManageMachine(machine=M1))
    given.hardware[M1] = with_parts()
    inspect(given)
    provide(given)
    assert given.provider(gpu).cordons == {"gone": "the last inspection missed it"}
    assert given.claim("on-it").state == "active"
    given.do(ReleaseClaim(claim=ClaimId("on-it")))
    with pytest.raises(DoesNotFit, match="gone"):
        given.do(claim_of({gpu: {GPU: 1}}, claim="c2"))
    given.do(ops.ManageMachine(machine=M1))
    given.hardware[M1] = with_parts(CARD)
    inspect(given)
    provide(given)
    assert given.provider(gpu).cordons == {}
    given.do(claim_of({gpu: {GPU: 1}}, claim="c2"))


def test_a_component_takes_claims_while_its_machine_does() -> None:
    given = Given()
    given.hardware[M1] = with_parts(CARD)
    given.enrolled()
    inspect(given)
    with pytest.raises(DoesNotFit, match="not-provided"):
        given.do(claim_of({card(given): {GPU: 1}}))


def test_what_an_operator_put_below_a_machine_is_not_taken_for_gone() -> None:
    given = with_card()
    given.offers("shelf", {"memory": 10}, parent=M1)
    given.do(ops.ManageMachine(machine=M1))
    inspect(given)
    assert given.provider("shelf").cordons == {}


def test_a_component_whose_name_is_taken_has_its_id_for_one() -> None:
    given = Given()
    given.offers("m1-gpu-1", {"memory": 10})
    given.hardware[M1] = with_parts(CARD)
    given.available()
    (child,) = (c for c in given.provider(M1).children if GPU in given.provider(c).inventories)
    assert given.provider(child).name == child
    given.do(ops.ManageMachine(machine=M1))
    given.do(DeleteMachine(machine=M1))
    assert not given.provider("m1-gpu-1").deleted
    assert given.states[StreamId("name/provider/region/m1-gpu-1")].object == "m1-gpu-1"


def test_components_of_the_longest_name_fit_into_a_name() -> None:
    given = Given()
    key = "m" * 63
    given.hardware[key] = with_parts(CARD)
    given.available(key)
    names = [given.provider(c).name for c in given.provider(key).children]
    assert len(names) == 2 and max(map(len, names)) == 63


def test_components_are_deleted_with_their_machine() -> None:
    given = with_card()
    gpu = card(given)
    given.do(ops.ManageMachine(machine=M1))
    given.do(DeleteMachine(machine=M1))
    assert given.provider(gpu).deleted and given.provider(M1).deleted
    given.hardware["m2"] = with_parts(CARD)
    given.available("m2")


def test_a_machine_with_a_claimed_component_is_neither_deleted_nor_retired() -> None:
    given = with_card()
    given.do(claim_of({card(given): {GPU: 1}}))
    with pytest.raises(FailedPrecondition, match="claimed"):
        given.do(upkeep.RetireMachine(machine=M1))
    given.do(ops.ManageMachine(machine=M1))
    before = dict(given.states)
    with pytest.raises(FailedPrecondition, match="has claims"):
        given.do(DeleteMachine(machine=M1))
    assert given.states == before


def test_by_force_a_claimed_component_outlives_its_machine_and_takes_no_more() -> None:
    given = with_card()
    gpu = card(given)
    given.do(claim_of({gpu: {GPU: 1}}))
    (port,) = (c for name, c in parts(given).items() if "nic" in name)
    given.do(FORCE)
    assert given.machine().deleted
    assert "machine-abandoned" in given.provider(gpu).cordons
    assert not given.provider(M1).deleted, "what is below it keeps it"
    assert "machine-abandoned" in given.provider(M1).cordons
    assert given.provider(port).deleted
    given.do(ReleaseClaim(claim=ClaimId("c1")))
    given.do(provider_commands.DeleteProvider(provider=gpu))
    given.do(provider_commands.DeleteProvider(provider=ProviderId(M1)))


def test_by_force_a_claim_on_a_machine_and_its_component_keeps_the_component() -> None:
    given = with_card()
    gpu = card(given)
    given.do(claim_of({M1: {MACHINE: 1}, gpu: {GPU: 1}}))
    given.do(deploy())
    given.finish()
    given.do(FORCE)
    claim = given.claim("c1")
    assert claim.state == "active" and [h.provider for h in claim.held] == [gpu]
    assert not given.provider(gpu).deleted
    assert given.states[stream_id("provider", M1)].use == {}


def deploy() -> DeployMachine:
    return DeployMachine(claim=C1, image=OS, operation=CommitId("deploy"), machine=M1)
