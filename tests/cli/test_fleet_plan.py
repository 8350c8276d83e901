from pathlib import Path

import pytest

from mulligan.cli.fleet import CredentialSpec, Fleet, merge
from mulligan.cli.fleet_plan import plan
from mulligan.cli.fleet_step import Actual, Step
from mulligan.cli.yamlfile import read_documents
from mulligan.errors import InvalidArgument
from mulligan.proto import v1

FLEET = """\
groups:
  - name: pool-a
providers:
  - name: rack-1
    type: component
    parent: row-1
    groups: [pool-a]
  - name: row-1
    type: component
    capabilities: [power.redundant]
    inventories:
      custom.power: {total: 10k, reserved: 1k}
---
credentials:
  - {name: bmc, username: root, password_env: BMC_PASSWORD}
machines:
  - name: node-1
    parent: rack-1
    bmc: {address: https://192.0.2.1, credential: bmc, system: 1}
    groups: [pool-a]
"""


def password(spec: CredentialSpec) -> str:
    return f"of {spec.name}"


def planned(folder: Path, text: str, actual: Actual) -> list[list[Step]]:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return plan(merge(list(read_documents(str(path), Fleet))), actual, password)


def existing() -> Actual:
    row = v1.Provider(
        uuid="row",
        name="row-1",
        type="component",
        capabilities=["power.redundant"],
        inventories=[
            v1.Inventory(
                resource_class="custom.power",
                total=10_000,
                reserved=1000,
                min_unit=1,
                max_unit=2**63 - 1,
                step_size=1,
                allocation_ratio=1.0,
            )
        ],
        etag="7",
    )
    rack = v1.Provider(uuid="rack", name="rack-1", type="component", parent="row")
    node = v1.Provider(uuid="node", name="node-1", type="machine", parent="rack")
    bmc = v1.Bmc(address="https://192.0.2.1", credential="login", system="1")
    return Actual(
        groups={"pool-a": v1.Group(uuid="pool", name="pool-a", members=["rack", "node"])},
        providers={one.name: one for one in (row, rack, node)},
        credentials={"bmc": v1.Credential(uuid="login", name="bmc")},
        machines={"node-1": v1.Machine(uuid="node", name="node-1", bmc=bmc)},
    )


def test_an_empty_region_gets_everything_in_dependency_order(tmp_path: Path) -> None:
    waves = planned(tmp_path, FLEET, Actual())
    assert [[(step.action, step.kind, step.name) for step in wave] for wave in waves] == [
        [("create", "credential", "bmc"), ("create", "group", "pool-a")],
        [("create", "provider", "row-1")],
        [("create", "provider", "rack-1")],
        [("create", "machine", "node-1")],
        [("change", "members", "pool-a")],
    ]
    credential = waves[0][0].request
    assert credential.password == "of bmc"
    assert not any("of bmc" in detail for detail in waves[0][0].details)


def test_a_region_that_is_as_the_file_says_is_left_alone(tmp_path: Path) -> None:
    waves = planned(tmp_path, FLEET, existing())
    assert {step.action for wave in waves for step in wave} == {"unchanged"}


def test_a_changed_inventory_is_shown_and_sent_with_the_etag(tmp_path: Path) -> None:
    waves = planned(tmp_path, FLEET.replace("10k", "12k"), existing())
    (step,) = [step for wave in waves for step in wave if step.request is not None]
    assert step.details == (
        "- custom.power: 10000 reserved=1000",
        "+ custom.power: 12000 reserved=1000",
    )
    assert step.request.etag == "7"
    assert step.request.update_mask == ["inventories"]


def test_only_missing_members_are_added(tmp_path: Path) -> None:
    actual = existing()
    actual.groups["pool-a"].members = ["rack"]
    (wave,) = planned(tmp_path, FLEET, actual)[-1:]
    assert wave[0].request == v1.UpdateGroupMembersRequest(group="pool-a", add=["node-1"])


def test_inventories_of_a_machine_follow_its_enrolment(tmp_path: Path) -> None:
    text = FLEET + "inventories:\n  node-1: {memory: 64GiB}\n"
    waves = planned(tmp_path, text, Actual())
    kinds = [wave[0].kind for wave in waves]
    assert kinds.index("machine") < len(kinds) - 2
    assert waves[-2][0].request.inventories[0].total == 64 * 2**30


@pytest.mark.parametrize(
    ("change", "where", "problem"),
    [
        (("https://192.0.2.1", "https://192.0.2.9"), ":19: machines[0].bmc", "enrol it anew"),
        (("groups: [pool-a]\n  -", "groups: [pool-z]\n  -"), ":7: providers[0].groups", "no group"),
        (("- name: row-1", "- name: rack-1"), ":8: providers[1].name", "stands at"),
        (("10k", "ten"), ":12: providers[1].inventories.custom.power.total", "not an amount"),
        (("capabilities:", "abilities:"), ":10: providers[1].abilities", "not a key"),
        (
            ("type: component\n    cap", "parent: rack-1\n    cap"),
            ":6: providers[0].parent",
            "under",
        ),
        ((", password_env: BMC_PASSWORD", ""), ":15: credentials[0]", "password_file or"),
    ],
)
def test_what_cannot_be_is_named_with_its_line(
    tmp_path: Path, change: tuple[str, str], where: str, problem: str
) -> None:
    with pytest.raises(InvalidArgument, match=problem) as caught:
        planned(tmp_path, FLEET.replace(*change), existing())
    assert caught.value.violations[0].field == str(tmp_path / "fleet.yaml") + where
