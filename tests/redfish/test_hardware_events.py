"""What BMCs tell of their hardware comes out in one form, and not too often."""

from typing import Any

import msgspec
import pytest

from mulligan.events.machine import Condition
from mulligan.redfish.hardware_events import PER_HOUR, Allowance, HardwareEvent, Told, told
from mulligan.redfish.hardware_kinds import kind_of, part_name

SYSTEM = "/redfish/v1/Systems/1"
PSU = "/redfish/v1/Chassis/1/PowerSubsystem/PowerSupplies/PSU.1"


@pytest.mark.parametrize(
    ("message_id", "origin", "kind"),
    [
        # iDRAC: bare, and with its registry
        ("PSU0003", "", "power-supply"),
        ("IDRAC.2.8.MEM0001", "", "memory"),
        ("IDRAC.2.8.PDR1001", "", "storage"),
        ("CPU0000", "", "processor"),
        ("TMP0120", "", "temperature"),
        ("FAN0001", "", "fan"),
        ("STOR1", "", "storage"),
        ("VLT0204", "", "power"),
        ("NIC100", "", "network"),
        ("PCI1302", "", "pcie"),
        ("IDRAC.2.8.USR0030", "", "security"),
        # iLO
        ("iLOEvents.2.1.PowerSupplyACPowerLoss", SYSTEM, "power-supply"),
        ("iLOEvents.2.1.PowerRedundancyLost", SYSTEM, "power"),
        ("iLOEvents.2.3.ServerPoweredOff", SYSTEM, "power"),
        ("iLOEvents.2.3.FanFailed", SYSTEM, "fan"),
        ("iLOEvents.2.3.DIMMConfigurationError", SYSTEM, "memory"),
        # XCC
        ("FQXSPPW0001I", "", "power"),
        ("FQXSPSD0000I", "", "storage"),
        ("FQXSPSE4001I", "", "security"),
        ("FQXSPMA0008N", "", "memory"),
        # OpenBMC
        ("OpenBMC.0.1.PowerSupplyFanFailed", "", "power-supply"),
        ("OpenBMC.0.1.MemoryECCUncorrectable", "", "memory"),
        ("OpenBMC.0.1.CPUThermalTrip", "", "temperature"),
        ("OpenBMC.0.1.PCIeFatalECRCError", "", "pcie"),
        # standard registries
        ("StorageDevice.1.1.DriveFailure", "", "storage"),
        ("StorageDevice.1.1.ControllerDegraded", "", "storage"),
        ("Environmental.1.0.FanFailed", "", "fan"),
        ("Power.1.0.BreakerTripped", "", "power"),
        ("NetworkDevice.1.0.CableRemoved", "", "network"),
        ("ResourceEvent.1.0.ResourceErrorsDetected", f"{SYSTEM}/Memory/DIMM1", "memory"),
        ("ResourceEvent.1.3.ResourceStatusChangedCritical", PSU, "power-supply"),
        ("ResourceEvent.1.0.ResourceErrorsDetected", "/redfish/v1/Chassis/GPU_1", "other"),
        ("", "/redfish/v1/Chassis/1/Thermal#/Fans/3", "fan"),
        ("", "/redfish/v1/Chassis/1/Thermal#/Temperatures/0", "temperature"),
        ("", f"{SYSTEM}/EthernetInterfaces/1", "network"),
        ("", "", "other"),
        ("\x00", "////", "other"),
    ],
)
def test_messages_of_all_vendors_are_of_a_few_kinds(
    message_id: str, origin: str, kind: str
) -> None:
    assert kind_of(message_id, origin) == kind


def test_a_part_is_named_by_its_kind_and_its_id() -> None:
    assert part_name("power-supply", PSU) == "power-supply/PSU.1"
    assert part_name("fan", "/redfish/v1/Chassis/1/Thermal#/Fans/3") == "fan/3"
    assert part_name("memory", f"{SYSTEM}/Memory") == "memory"
    assert part_name("power", SYSTEM) == "power"


def payload(*events: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"@odata.type": "#Event.v1_7_0.Event", "Events": list(events)})


FAILED: dict[str, Any] = {
    "MessageId": "Power.1.0.PowerSupplyFailed",
    "MessageSeverity": "Critical",
    "Severity": "OK",
    "Message": "Power supply PSU.1 has failed.",
    "OriginOfCondition": {"@odata.id": PSU},
}


def test_a_failure_is_told_in_normal_form() -> None:
    assert told(payload(FAILED), SYSTEM) == Told(
        True,
        (
            HardwareEvent(
                "power-supply",
                Condition(
                    component="power-supply/PSU.1",
                    severity="critical",
                    message="Power supply PSU.1 has failed.",
                    message_id="Power.1.0.PowerSupplyFailed",
                ),
            ),
        ),
    )


def test_older_bmcs_have_a_severity_and_an_origin_as_text() -> None:
    old = {"MessageId": "PSU0001", "Severity": "Warning", "OriginOfCondition": PSU}
    (event,) = told(payload(old), SYSTEM).events
    assert (event.condition.severity, event.condition.component) == (
        "warning",
        "power-supply/PSU.1",
    )


def test_what_is_well_is_a_reason_to_look_and_no_event() -> None:
    on = {"MessageId": "iLOEvents.2.3.ServerPoweredOn", "Severity": "OK"}
    assert told(payload(on), SYSTEM) == Told(True)


def test_a_login_is_no_reason_to_look_for_looking_may_log_in() -> None:
    login = {"MessageId": "IDRAC.2.8.USR0030", "Severity": "Informational"}
    assert told(payload(login), SYSTEM) == Told(False)
    failed = {"MessageId": "IDRAC.2.8.USR0034", "Severity": "Warning"}
    assert told(payload(failed), SYSTEM).look


def test_what_another_system_of_the_same_bmc_tells_is_not_ours() -> None:
    other = {**FAILED, "OriginOfCondition": {"@odata.id": "/redfish/v1/Systems/10/Memory/1"}}
    assert told(payload(other), SYSTEM) == Told(False)
    own = {**FAILED, "OriginOfCondition": {"@odata.id": SYSTEM + "/"}}
    assert told(payload(own), SYSTEM).look


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"heartbeat",
        b"\xff\xfe",
        b"[1, 2]",
        b"[" * 100_000,
        b'{"Events": 3}',
        b'{"@odata.type": "#MetricReport.v1_0_0.MetricReport", "MetricValues": []}',
    ],
)
def test_what_is_no_event_is_nothing(data: bytes) -> None:
    assert told(data, SYSTEM) == Told(False)


def test_wrong_types_and_long_texts_do_no_harm() -> None:
    bad = {"MessageId": 7, "Severity": "Critical", "Message": "x" * 9999, "OriginOfCondition": []}
    (event,) = told(payload(bad), SYSTEM).events
    assert event.kind == "other"
    assert len(event.condition.message) == 200
    assert len(told(payload(*[FAILED] * 500), SYSTEM).events) == 64


def event_of(kind: str, part: int = 0) -> HardwareEvent:
    return HardwareEvent(
        kind, Condition(component=f"{kind}/{part}", severity="critical", message_id="M")
    )


def test_six_events_an_hour_are_kept_and_the_others_counted_with_the_next() -> None:
    allowance = Allowance()
    kept = [allowance.admit(event_of("fan", n), now=n) for n in range(10)]
    assert kept == [0] * PER_HOUR + [None] * 4
    assert allowance.admit(event_of("fan", 99), now=3600.5) == 4
    assert allowance.admit(event_of("memory"), now=3600.6) is None


def test_the_same_event_is_kept_once_an_hour_and_leaves_room_for_others() -> None:
    allowance = Allowance()
    kept = [allowance.admit(event_of("fan"), now=n) for n in range(100)]
    assert kept == [0] + [None] * 99
    assert allowance.admit(event_of("memory"), now=100) == 0


def test_what_was_withheld_is_told_in_the_end() -> None:
    allowance = Allowance()
    for n in range(5):
        allowance.admit(event_of("fan"), now=n)
    assert allowance.overdue(now=3599) is None
    assert allowance.overdue(now=3600) == (event_of("fan"), 3)
    assert allowance.overdue(now=3600) is None
