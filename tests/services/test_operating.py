"""What an operator asks of a running region: how it is, and to log more for a while."""

import json
import os
import signal
import time

from tests.e2e.region import RunningRegion, until
from tests.services.edge import Edge

SERVICES = {"iam", "meta", "resource", "control", "log", "projector", "executor", "archiver"}


async def test_status_names_a_service_that_hangs_at_once_and_what_to_do(
    region: RunningRegion, edge: Edge
) -> None:
    await edge.admin()
    stopped = region.pid("archiver")
    os.kill(stopped, signal.SIGSTOP)
    try:
        began = time.monotonic()
        told = await region.cli("status", "--exit-code", "-o", "json")
        took = time.monotonic() - began
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert told.returncode == 11
    found = json.loads(told.stdout)
    (critical,) = [
        one
        for one in found["problems"]
        if one["severity"] == "critical" and one["subject"].startswith("archiver-")
    ]
    assert "mulligan serve archiver" in critical["next"]
    assert {one["instance"]["service"] for one in found["instances"]} == SERVICES - {"archiver"}
    assert took < 20, "1.5 s for whoever is silent; the rest is a busy machine's"


async def test_every_instance_logs_more_for_a_while(region: RunningRegion, edge: Edge) -> None:
    await edge.admin()
    words = ("configure", "all", "--log-level", "debug", "--logger", "mulligan.trial")
    changed = await region.cli(*words, "--for", "1s", "-o", "json")
    assert changed.returncode == 0, changed.stderr
    rows = json.loads(changed.stdout)
    assert {one["instance"].partition("-")[0] for one in rows} == SERVICES
    assert all(one["held"]["loggers"] == {"mulligan.trial": "debug"} for one in rows)
    assert all(one["held"]["reverts_at"] for one in rows)

    async def over() -> bool:
        shown = await region.cli("configure", "-o", "json")
        return not any(one["held"].get("loggers") for one in json.loads(shown.stdout))

    await until(over, "what held before is back")


async def test_a_setting_that_is_none_is_refused_by_its_name(region: RunningRegion) -> None:
    refused = await region.cli("configure", "iam", "--log-level", "loud")
    assert refused.returncode == 2
    assert "log_level" in refused.stderr
    unknown = await region.cli("configure", "cellar")
    assert unknown.returncode == 2
    assert "cellar" in unknown.stderr
