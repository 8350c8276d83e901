"""One trace from a command line to the exchanges with a BMC; lines of the log say what of."""

import json

import pytest

from mulligan import tracing
from mulligan.proto import v1
from tests.collector import Collector, Seen
from tests.e2e.fleet import rests
from tests.e2e.region import RunningRegion, until
from tests.services.edge import Edge
from tests.services.yard import Yard

TRACE = "0000000000000000000000000000beef"
WAY = (
    ("mulligan-cli", "command inspect"),
    ("mulligan-cli", "Control.InspectMachine"),
    ("mulligan-control", "Control.InspectMachine"),
    ("mulligan-control", "machine.inspect"),
    ("mulligan-control", "append"),
    ("mulligan-projector", "project"),
    ("mulligan-control", "reconcile"),
    ("mulligan-executor", "step check"),
    ("mulligan-executor", "redfish GET"),
)


def below(spans: list[Seen], root: Seen) -> list[Seen]:
    """Return the spans that hang together with a root, itself among them."""
    found, ids = [root], {root.id}
    grown = True
    while grown:
        more = [one for one in spans if one.parent in ids and one.id not in ids]
        grown = bool(more)
        found += more
        ids |= {one.id for one in more}
    return found


async def test_one_trace_leads_from_the_command_line_to_the_bmc(
    region: RunningRegion, yard: Yard, collector: Collector
) -> None:
    (name,) = await yard.enrolled()
    done = await region.cli(
        "machine",
        "inspect",
        name,
        MULLIGAN_TRACE_ENDPOINT=collector.endpoint,
        MULLIGAN_TRACE_SAMPLE="1",
    )
    assert done.returncode == 0, done.stderr
    await rests(yard.admin, name, v1.MachineState.MANAGEABLE)
    found: list[Seen] = []

    async def told() -> bool:
        nonlocal found
        spans = collector.spans
        roots = [one for one in spans if (one.service, one.name) == WAY[0]]
        found = below(spans, roots[0]) if roots else []
        return set(WAY) <= {(one.service, one.name) for one in found}

    await until(told, "every part tells the collector")
    asked = next(one for one in found if one.service == "mulligan-control" and one.kind == 2)
    assert asked.attributes["mulligan.method"] == "Control.InspectMachine"
    assert asked.attributes["mulligan.request_id"]


async def test_a_trace_that_begins_at_a_service_is_kept_only_by_its_share(
    edge: Edge, collector: Collector
) -> None:
    await edge.admin()
    kept = f"00-{TRACE}-000000000000beef-01"
    with tracing.following(kept):
        await edge.admin()

    async def told() -> bool:
        return any(one.trace == TRACE and one.name == "append" for one in collector.spans)

    await until(told, "the call that came with a trace")
    begun_here = [one for one in collector.spans if not one.parent]
    assert {one.service for one in begun_here} <= {"mulligan-cli"}


async def test_lines_of_the_log_say_of_which_call_they_are(
    region: RunningRegion, edge: Edge
) -> None:
    token = await edge.admin()
    await edge.call("iam.iam_configure", v1.ConfigureRequest(log_level="info"), token)
    with tracing.following(f"00-{TRACE}-000000000000beef-00"):
        await edge.call("iam.iam_configure", v1.ConfigureRequest(log_level="info"), token)
    path = region.paths.state_dir / "logs" / "iam.log"
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
    said = [line for line in lines if line["message"] == "configured"][-1]
    assert said["trace_id"] == TRACE
    assert said["method"] == "Iam.IamConfigure"
    assert len(said["account"]) == 36


@pytest.mark.parametrize("parent", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_what_is_no_trace_is_none(parent: str) -> None:
    assert tracing.well_formed(parent) == ""
