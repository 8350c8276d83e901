from datetime import timedelta
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
        (
            ("parent: rack-1\n    bmc", "parent: row-1\n    bmc"),
            ":18: machines[0].parent",
            "move it",
        ),
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


RULES = """\
distance_types:
  network: [local, row, site]
groups:
  - name: row-a
providers:
  - name: store-1
    type: storage
    parent: row-1
    shares: [row-a]
    distances: {network: {row-a: local}}
    turnaround: 30m
quotas:
  physics: {limits: {machine: 4, memory: 1TiB}, max_lease: 30d}
"""


def ruled() -> Actual:
    row = v1.Provider(uuid="row", name="row-1", type="component")
    store = v1.Provider(
        uuid="store",
        name="store-1",
        type="storage",
        parent="row",
        shares=["a"],
        distances=[v1.Distance(type="network", group="a", position="local")],
        turnaround=timedelta(minutes=30),
        etag="3",
    )
    quota = v1.Quota(
        project="p",
        project_name="physics",
        limits={"machine": 4, "memory": 2**40},
        max_lease=timedelta(days=30),
        etag="5",
    )
    return Actual(
        groups={"row-a": v1.Group(uuid="a", name="row-a")},
        providers={one.name: one for one in (row, store)},
        distance_types={"network": v1.DistanceType(name="network", positions=["local", "site"])},
        quotas={"physics": quota},
    )


def changes(waves: list[list[Step]]) -> list[Step]:
    return [step for wave in waves for step in wave if step.request is not None]


def test_types_and_groups_come_before_the_providers_that_speak_of_them(tmp_path: Path) -> None:
    waves = planned(tmp_path, RULES, Actual())
    assert [[(step.kind, step.name) for step in wave] for wave in waves] == [
        [("group", "row-a"), ("distance type", "network"), ("quota", "physics")],
        [("provider", "store-1")],
    ]
    assert waves[1][0].request == v1.CreateProviderRequest(
        name="store-1",
        type="storage",
        parent="row-1",
        shares=["row-a"],
        distances=[v1.Distance(type="network", group="row-a", position="local")],
        turnaround=timedelta(minutes=30),
    )


def test_only_the_positions_that_are_missing_change(tmp_path: Path) -> None:
    (step,) = changes(planned(tmp_path, RULES, ruled()))
    assert step.request == v1.ExtendDistanceTypeRequest(
        name="network", positions=["local", "row", "site"]
    )


def test_another_parent_moves_a_provider(tmp_path: Path) -> None:
    step = changes(planned(tmp_path, RULES.replace("row-1", "row-2"), ruled()))[-1]
    assert step.details == ("- parent: row-1", "+ parent: row-2")
    assert (step.request.update_mask, step.request.parent) == (["parent"], "row-2")


@pytest.mark.parametrize(
    ("change", "mask", "details"),
    [
        (("[row-a]", "[]"), ["shares"], ("- shares with row-a",)),
        (
            ("{row-a: local}", "{row-a: site}"),
            ["distances"],
            ("- network to row-a: local", "+ network to row-a: site"),
        ),
        (("30m", "0"), ["turnaround"], ("- turnaround: 30m",)),
    ],
)
def test_a_changed_rule_of_a_provider_is_shown_and_sent(
    tmp_path: Path, change: tuple[str, str], mask: list[str], details: tuple[str, ...]
) -> None:
    step = changes(planned(tmp_path, RULES.replace(*change), ruled()))[-1]
    assert (step.request.update_mask, step.details) == (mask, details)


def test_a_changed_limit_is_sent_with_what_stays(tmp_path: Path) -> None:
    text = RULES.replace(
        "{limits: {machine: 4, memory: 1TiB}, max_lease: 30d}", "{max_lease: none}"
    )
    (step,) = [s for s in changes(planned(tmp_path, text, ruled())) if s.kind == "quota"]
    assert step.details == ("- max_lease: 30d",)
    assert step.request == v1.SetQuotaRequest(
        project="physics", limits={"machine": 4, "memory": 2**40}, etag="5"
    )


def test_a_machine_has_its_distances_after_its_enrolment(tmp_path: Path) -> None:
    text = FLEET + "    distances: {network: {pool-a: site}}\n    turnaround: 1h\n"
    text += "distance_types: {network: [local, site]}\n"
    kinds = [[step.kind for step in wave] for wave in planned(tmp_path, text, Actual())]
    assert kinds.index(["machine"]) < kinds.index(["provider"], 3)
    (step,) = [s for s in changes(planned(tmp_path, text, existing())) if s.kind == "provider"]
    assert step.request.update_mask == ["distances", "turnaround"]


def test_many_members_are_added_in_batches(tmp_path: Path) -> None:
    members = ", ".join(f"node-{number}" for number in range(2500))
    text = f"groups:\n  - {{name: big, members: [{members}]}}\n  - {{name: small, members: [x]}}\n"
    waves = planned(tmp_path, text, Actual())[1:]
    sizes = [[(step.name, len(step.request.add)) for step in wave] for wave in waves]
    assert sizes == [[("big", 1000), ("small", 1)], [("big", 1000)], [("big", 500)]]


@pytest.mark.parametrize(
    ("change", "where", "problem"),
    [
        (("shares: [row-a]", "shares: [row-z]"), ":9: providers[0].shares[0]", "no group"),
        (("{network: {", "{power: {"), ":10: providers[0].distances.power", "no type of distance"),
        (
            ("{row-a: local}", "{row-z: local}"),
            ":10: providers[0].distances.network.row-z",
            "group",
        ),
        (("row-a: local", "row-a: far"), ":10: providers[0].distances.network.row-a", "none of"),
        (("30m", "soon"), ":11: providers[0].turnaround", "not a span"),
        (("machine: 4", "machine: many"), ":13: quotas.physics.limits.machine", "not an amount"),
        (("[local, row, site]", "[site, local]"), ":2: distance_types.network", "keep their order"),
    ],
)
def test_a_rule_that_cannot_be_is_named_with_its_line(
    tmp_path: Path, change: tuple[str, str], where: str, problem: str
) -> None:
    with pytest.raises(InvalidArgument, match=problem) as caught:
        planned(tmp_path, RULES.replace(*change), ruled())
    assert caught.value.violations[0].field == str(tmp_path / "fleet.yaml") + where


MAKES = """\
images:
  - {name: wiper, url: "https://images.example/wiper.iso", sha256: "00"}
profiles:
  - name: dell
    manufacturer: "Dell*"
    deadlines: {deploy: 2h, clean: 1d}
    clean: [wipe]
    wipe_image: wiper
"""


def profile() -> v1.HardwareProfile:
    return v1.HardwareProfile(
        name="dell",
        manufacturer="Dell*",
        model="*",
        deadlines={"deploy": 7200, "clean": 86400},
        clean=["wipe"],
        wipe_image="image",
    )


def test_a_profile_follows_its_image_and_is_set_as_a_whole(tmp_path: Path) -> None:
    waves = planned(tmp_path, MAKES, Actual())
    assert [[(step.kind, step.name) for step in wave] for wave in waves] == [
        [("image", "wiper")],
        [("profile", "dell")],
    ]
    wanted = profile()
    wanted.wipe_image = "wiper"
    assert waves[1][0].request == v1.SetProfileRequest(profile=wanted)


def test_a_profile_that_is_so_already_is_left_alone(tmp_path: Path) -> None:
    image = v1.Image(
        uuid="image",
        name="wiper",
        url="https://images.example/wiper.iso",
        sha256="00",
        kind="iso",
        firmware="uefi",
        ready_when="power-on",
    )
    actual = Actual(images={"wiper": image}, profiles={"dell": profile()})
    assert changes(planned(tmp_path, MAKES, actual)) == []
    (step,) = changes(planned(tmp_path, MAKES.replace("2h", "3h"), actual))
    assert step.details == ("- deadline deploy: 7200s", "+ deadline deploy: 10800s")


def test_a_machine_is_enrolled_with_a_pin_and_a_profile(tmp_path: Path) -> None:
    text = FLEET.replace("system: 1}", "system: 1, pin: true}\n    profile: dell")
    (step,) = [s for s in changes(planned(tmp_path, text, Actual())) if s.kind == "machine"]
    assert (step.request.bmc.pin, step.request.profile) == (True, "dell")


@pytest.mark.parametrize(
    ("change", "details"),
    [
        (
            ("https://192.0.2.1", "https://192.0.2.9"),
            ("- bmc: https://192.0.2.1 1", "+ bmc: https://192.0.2.9 1"),
        ),
        (("credential: bmc", "credential: other"), ("- credential: bmc", "+ credential: other")),
        (("system: 1}", "insecure: true}"), ("+ certificate: not checked",)),
        (("system: 1}", "pin: true}"), ("+ certificate: first seen",)),
        (("system: 1}", "}\n    profile: dell"), ("+ profile: dell",)),
    ],
)
def test_a_machine_that_is_there_is_reached_in_another_way(
    tmp_path: Path, change: tuple[str, str], details: tuple[str, ...]
) -> None:
    (step,) = changes(planned(tmp_path, FLEET.replace(*change), existing()))
    assert (step.action, step.details) == ("change", details)
    assert isinstance(step.request, v1.UpdateMachineRequest)


def test_what_the_file_leaves_out_of_a_bmc_stays(tmp_path: Path) -> None:
    actual = existing()
    actual.machines["node-1"].bmc = v1.Bmc(
        address="https://192.0.2.1", credential="login", system="1", fingerprint="ab" * 32
    )
    for more in ("", ", pin: true", ", fingerprint: " + ":".join(["AB"] * 32)):
        text = FLEET.replace(", system: 1}", f"{more}}}")
        assert changes(planned(tmp_path, text, actual)) == [], more


def test_a_bmc_that_is_no_longer_checked_is_not_pinned_either(tmp_path: Path) -> None:
    actual = existing()
    actual.machines["node-1"].bmc = v1.Bmc(
        address="https://192.0.2.1", credential="login", system="1", pin=True
    )
    text = FLEET.replace(", system: 1}", ", insecure: true}")
    (step,) = changes(planned(tmp_path, text, actual))
    assert (step.request.bmc.insecure, step.request.bmc.pin) == (True, False)
    assert step.details == ("- certificate: first seen", "+ certificate: not checked")
