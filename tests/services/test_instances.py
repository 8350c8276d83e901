"""What an instance says of itself, and how configurations of several are compared."""

import json
from pathlib import Path

import msgspec
import pytest

from mulligan.config import Address, Config, LimitsConfig, ListenConfig
from mulligan.proto import v1
from mulligan.services.instance import digest_of, ends_of, leads_of
from mulligan.services.runtime import Runtime
from tests.e2e.region import RunningRegion, until
from tests.services.edge import Edge, refusal


def test_configurations_are_compared_by_what_instances_should_have_alike() -> None:
    here = Config(state_dir=Path("/a"))
    there = Config(state_dir=Path("/b"), listen=ListenConfig(iam=Address("10.0.0.2:7001")))
    assert digest_of(here) == digest_of(there)
    assert digest_of(msgspec.structs.replace(here, limits=LimitsConfig(rate=1.0))) != digest_of(
        here
    )


def test_a_certificate_that_cannot_be_read_ends_nowhere(tmp_path: Path) -> None:
    assert ends_of(None) is None
    assert ends_of(tmp_path / "none.pem") is None
    (tmp_path / "torn.pem").write_text("torn")
    assert ends_of(tmp_path / "torn.pem") is None


def test_a_projector_leads_while_it_holds_the_work_lock_and_else_stands_by() -> None:
    runtime = Runtime(Config(), "projector", "127.0.0.1:1")
    held = False
    runtime.holds_work = lambda: held
    assert leads_of(runtime) == ([], True)
    held = True
    assert leads_of(runtime) == (["read-models"], True)


async def test_each_instance_tells_how_it_stands(edge: Edge) -> None:
    token = await edge.admin()
    said: v1.Instance = await edge.call("catalog.get_instance", v1.GetInstanceRequest(), token)
    assert (said.service, said.etcd_problem, said.postgres_problem) == ("iam", "", "")
    assert said.etcd_leader
    assert said.etcd_ms > 0
    assert said.now is not None
    assert said.started_at is not None
    assert said.certificate_ends is not None
    assert said.now > said.started_at
    assert said.certificate_ends > said.now
    assert said.applied > 0


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (v1.ConfigureRequest(log_level="loud"), "log_level"),
        (v1.ConfigureRequest(logger="asyncio", log_level="debug"), "logger"),
        (v1.ConfigureRequest(logger="mulligan..x", log_level="debug"), "logger"),
        (v1.ConfigureRequest(logger="mulligan.x"), "log_level"),
        (v1.ConfigureRequest(trace_sample=1.5), "trace_sample"),
        (v1.ConfigureRequest(rate=1.0, revert_after=1e6), "revert_after"),
        (v1.ConfigureRequest(rate=1.0, revert_after=float("nan")), "revert_after"),
    ],
)
async def test_settings_that_are_none_are_refused(
    edge: Edge, asked: v1.ConfigureRequest, field: str
) -> None:
    refused = await refusal(edge.call("iam.iam_configure", asked, await edge.admin()))
    assert refused.fields == (field,)


async def test_what_one_instance_does_for_all_is_told_by_the_one_that_does_it(
    region: RunningRegion, edge: Edge
) -> None:
    await edge.admin()
    told = json.loads((await region.cli("status", "-o", "json")).stdout)
    leads: dict[str, list[str]] = {}
    for one in told["instances"]:
        leads.setdefault(one["instance"]["service"], []).extend(one["instance"]["leads"])
    assert {service: sorted(found) for service, found in leads.items() if found} == {
        "projector": ["read-models"],
        "archiver": ["archive"],
        "log": ["checkpoints"],
        "resource": ["claim-migration", "claim-timers"],
    }
    assert not any(one["instance"]["stands_by"] for one in told["instances"])


async def test_an_archiver_tells_which_members_of_etcd_answer_and_status_shows_them(
    region: RunningRegion, edge: Edge
) -> None:
    await edge.admin()

    async def told() -> list[dict[str, object]]:
        said = json.loads((await region.cli("status", "-o", "json")).stdout)
        return [one for seen in said["instances"] for one in seen["instance"]["etcd_members"]]

    await until(told, "the archiver has looked")
    (member,) = await told()
    assert (member["problem"], member["leads"]) == ("", True)
    shown = (await region.cli("status")).stdout
    assert "etcd: 1 member: no redundancy" in shown
    assert "note: backup: the sealed secrets" in shown
    assert "backup of secrets: never saved" in (await region.cli("archive", "status")).stdout
