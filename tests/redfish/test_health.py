"""What a BMC says of its health, from one read, and from a closer look where it is not well."""

from typing import Any

import anyio
import pytest

from mulligan.events.machine import Bmc, Condition
from mulligan.model import CredentialId
from mulligan.redfish.bmc import BmcClient, Login
from mulligan.redfish.health import (
    MOST_CONDITIONS,
    MOST_READS,
    find_conditions,
    health_of,
    status_of,
)
from tests.redfish.scripted_bmc import SYSTEM, ScriptedBmc, status
from tests.redfish.vendors.service import Vendor
from tests.redfish.vendors.simulated import SimulatedBmc
from tests.redfish.vendors.test_vendors import VENDORS

CHASSIS = "/redfish/v1/Chassis/1"


def stated(health: Any, rollup: Any = None, state: str = "Enabled") -> dict[str, Any]:
    return {"Status": {"Health": health, "HealthRollup": rollup, "State": state}}


@pytest.mark.parametrize(
    ("resource", "health"),
    [
        (stated("OK", "OK"), "ok"),
        (stated("OK", "Warning"), "warning"),
        (stated("Critical", "Warning"), "critical"),
        (stated(None, "OK"), "ok"),
        (stated(None, None), "unknown"),
        (stated("Critical", state="Absent"), "unknown"),
        (stated(["OK"], 7), "unknown"),
        ({"Status": "OK"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_health_is_the_worst_that_is_stated_and_never_guessed(
    resource: dict[str, Any], health: str
) -> None:
    assert health_of(resource) == health


def test_a_system_lists_what_is_wrong_and_what_is_well_is_left_out() -> None:
    conditions = [
        {"Severity": "OK", "MessageId": "A"},
        {"Severity": "Warning", "MessageId": "FAN0001", "Message": "slow"},
        {
            "Severity": "Critical",
            "MessageId": "ResourceEvent.1.0.ResourceErrorsDetected",
            "OriginOfCondition": {"@odata.id": f"{SYSTEM}/Memory/D1"},
        },
    ]
    found = status_of({"PowerState": "On", "Status": {"Health": "OK", "Conditions": conditions}})
    assert (found.power, found.health) == ("on", "ok")
    assert [(c.component, c.severity) for c in found.conditions] == [
        ("memory/D1", "critical"),
        ("fan", "warning"),
    ]


def faulty_machine(bmc: ScriptedBmc) -> None:
    """A system of which a power supply, a fan, a drive and a DIMM have something."""
    power, thermal = f"{CHASSIS}/PowerSubsystem", f"{CHASSIS}/Thermal"
    bmc.system_extra = {
        **stated("OK", "Critical"),
        "Links": {"Chassis": [{"@odata.id": CHASSIS}]},
        "MemorySummary": stated(None, "Warning"),
        "ProcessorSummary": stated("OK"),
        "Memory": {"@odata.id": f"{SYSTEM}/Memory"},
        "Processors": {"@odata.id": f"{SYSTEM}/Processors"},
        "Storage": {"@odata.id": f"{SYSTEM}/Storage"},
    }
    bmc.resources.update(
        {
            CHASSIS: {
                "PowerSubsystem": {"@odata.id": power},
                "Thermal": {"@odata.id": thermal},
            },
            power: {"PowerSupplies": {"@odata.id": f"{power}/PowerSupplies"}},
            f"{power}/PowerSupplies": {
                "Members": [{"@odata.id": f"{power}/PowerSupplies/{n}"} for n in (0, 1)]
            },
            f"{power}/PowerSupplies/0": {"Id": "0", **stated("OK")},
            f"{power}/PowerSupplies/1": {
                "Id": "1",
                **stated("Critical", state="UnavailableOffline"),
            },
            thermal: {"Fans": [{"MemberId": "3", **stated("Warning")}], "Temperatures": "none"},
            f"{SYSTEM}/Memory": {"Members": [{"@odata.id": f"{SYSTEM}/Memory/A1"}]},
            f"{SYSTEM}/Memory/A1": {
                "Id": "A1",
                "Status": {
                    "Health": "Warning",
                    "Conditions": [
                        {
                            "Severity": "Warning",
                            "MessageId": "MEM0702",
                            "Message": "correctable errors",
                        }
                    ],
                },
            },
            f"{SYSTEM}/Storage": {"Members": [{"@odata.id": f"{SYSTEM}/Storage/R"}]},
            f"{SYSTEM}/Storage/R": {
                "Id": "R",
                **stated(None, None),
                "Drives": [{"@odata.id": f"{SYSTEM}/Storage/R/Drives/D"}],
            },
            f"{SYSTEM}/Storage/R/Drives/D": {"Name": "Disk D", **stated("Warning")},
        }
    )


async def looked(client: BmcClient) -> tuple[Condition, ...]:
    return await find_conditions(client, (await client.system()).body, within=5)


async def test_a_closer_look_names_each_part_that_is_not_well_the_worst_first(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    faulty_machine(bmc)
    found = await looked(client)
    assert [(c.component, c.severity, c.message) for c in found] == [
        ("power-supply/1", "critical", "the BMC reports critical (UnavailableOffline)"),
        ("fan/3", "warning", "the BMC reports warning"),
        ("memory", "warning", "correctable errors"),
        ("storage/Disk D", "warning", "the BMC reports warning"),
    ]
    assert bmc.count("GET", f"{SYSTEM}/Processors") == 0, "their summary is well"


async def test_a_collection_comes_with_its_members_where_the_bmc_can(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    faulty_machine(bmc)
    supplies = f"{CHASSIS}/PowerSubsystem/PowerSupplies"
    bmc.resources["/redfish/v1"] = {
        "RedfishVersion": "1.15.0",
        "Systems": {"@odata.id": "/redfish/v1/Systems"},
        "Links": {"Sessions": {"@odata.id": "/redfish/v1/SessionService/Sessions"}},
        "ProtocolFeaturesSupported": {"ExpandQuery": {"NoLinks": True, "Levels": True}},
    }
    bmc.resources[supplies] = {"Members": [{"Id": "1", **stated("Critical")}]}
    assert (await looked(client))[0].component == "power-supply/1"
    assert bmc.count("GET", f"{supplies}/1") == 0


async def test_what_cannot_be_read_is_passed_over(bmc: ScriptedBmc, client: BmcClient) -> None:
    faulty_machine(bmc)
    bmc.script("GET", CHASSIS + ".*", status(500), times=50)
    assert {c.component for c in await looked(client)} == {"memory", "storage/Disk D"}


async def test_where_nothing_is_found_the_system_itself_is_the_condition(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.system_extra = stated("Warning")
    assert await looked(client) == (
        Condition(
            component="system",
            severity="warning",
            message="the BMC reports warning without saying of what",
        ),
    )


async def test_ilo_sums_up_by_kind_in_the_system_itself(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    summary = {"Fans": stated("OK"), "PowerSupplies": stated("Warning"), "FanRedundancy": "Lost"}
    bmc.system_extra = {
        **stated("Warning"),
        "Oem": {"Hpe": {"AggregateHealthStatus": summary}},
    }
    assert [c.component for c in await looked(client)] == ["power-supply"]


async def test_a_bmc_that_lists_thousands_of_sick_parts_is_asked_a_few_times(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    members = [{"@odata.id": f"{SYSTEM}/Memory/{n}"} for n in range(5000)]
    bmc.system_extra = {**stated("Warning"), "Memory": {"@odata.id": f"{SYSTEM}/Memory"}}
    bmc.resources[f"{SYSTEM}/Memory"] = {"Members": members}
    for n in range(100):
        bmc.resources[f"{SYSTEM}/Memory/{n}"] = {"Id": str(n), **stated("Warning")}
    before = len(bmc.log)
    assert len(await looked(client)) == MOST_CONDITIONS
    assert len(bmc.log) - before <= MOST_READS + 4


PARTS = {
    "PowerSupplies": "power-supply",
    "Memory": "memory",
    "Processors": "processor",
    "Storage": "storage",
    "Drives": "storage",
}


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
async def test_a_part_that_failed_is_found_on_every_vendors_bmc(vendor: Vendor) -> None:
    async with SimulatedBmc(vendor) as bmc:
        client = BmcClient(
            Bmc(address=bmc.address, credential=CredentialId("lab")),
            Login(bmc.user, bmc.password),
            limiter=anyio.CapacityLimiter(4),
        )
        system = {**(await client.system()).body, **stated("Critical")}
        no_summaries = {"MemorySummary": None, "ProcessorSummary": None}
        first = {path.split("/")[-2]: path for path in reversed(bmc.tree)}
        tried = 0
        for collection, kind in PARTS.items():
            if collection not in first:
                continue
            part = bmc.tree[first[collection]]
            bmc.tree[first[collection]] = {**part, **stated("Critical")}
            found = await find_conditions(client, {**system, **no_summaries}, within=5)
            bmc.tree[first[collection]] = part
            critical = [c.component for c in found if c.severity == "critical"]
            assert critical == [f"{kind}/{part['Id']}"]
            tried += 1
        assert tried
        await client.close()
