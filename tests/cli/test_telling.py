"""``--trace`` and ``--verbose``: a command that tells how it went, and nothing that it must not."""

import io
import logging
import re

import pytest
from grpclib import GRPCError, Status

from mulligan.cli.telling import telling
from tests.cli.conftest import Cli
from tests.client.fakes import SECRET, FakeRegion
from tests.collector import Collector


def ids_of(region: FakeRegion) -> set[str]:
    """Return the ids of the traces that calls belonged to, and that shall be kept."""
    return {text[3:35] for text in region.traces if text.endswith("-01")}


async def test_a_traced_command_prints_the_id_that_its_calls_carried(
    cli: Cli, region: FakeRegion
) -> None:
    ended = await cli("machine", "list", "--trace")
    said = ended.stderr.decode().splitlines()[-1]
    assert re.fullmatch(r"trace: [0-9a-f]{32}", said)
    assert said.removeprefix("trace: ") in ids_of(region)


async def test_an_error_has_the_id_once(cli: Cli, region: FakeRegion) -> None:
    region.failures = [GRPCError(Status.NOT_FOUND, "there is no such machine")]
    ended = await cli("--trace", "machine", "show", "node-1")
    assert ended.returncode == 3
    assert len(re.findall(rb"trace: [0-9a-f]{32}", ended.stderr)) == 1


async def test_what_is_wanted_is_sampled_whatever_the_share_is(cli: Cli) -> None:
    with Collector() as collector:
        told = {
            "MULLIGAN_TRACE_ENDPOINT": collector.endpoint,
            "MULLIGAN_TRACE_SAMPLE": "0",
        }
        assert (await cli("machine", "list", **told)).stderr.find(b"trace:") < 0
        assert not collector.spans
        ended = await cli("machine", "list", **told, MULLIGAN_TRACE="1")
        spans = {one.trace for one in collector.spans}
    assert spans == {ended.stderr.decode().split("trace: ")[1].strip()}


async def test_verbose_tells_where_calls_went_and_how_long_they_took(cli: Cli) -> None:
    ended = await cli("machine", "list", "-v")
    lines = ended.stderr.decode().splitlines()
    assert all(re.match(r" *\d+ ms  \S", line) for line in lines[:-1]), lines
    told = "\n".join(lines)
    assert re.search(r"Catalog.ListEndpoints at 127.0.0.1:\d+: \d+ instances, in \d+ ms", told)
    assert re.search(r"Iam.Login at \S+ answered in \d+ ms", told)
    assert re.search(r"Control.ListMachines at \S+ answered in \d+ ms", told)
    assert SECRET not in told
    assert "token" not in told


@pytest.mark.parametrize("where", ["after", "before", "environment"])
async def test_verbose_tells_why_a_call_is_repeated(
    cli: Cli, region: FakeRegion, where: str
) -> None:
    region.failures = [GRPCError(Status.UNAVAILABLE, "starting\x1b[2J")]
    match where:
        case "after":
            ended = await cli("machine", "list", "--verbose")
        case "before":
            ended = await cli("-v", "machine", "list")
        case _:
            ended = await cli("machine", "list", MULLIGAN_VERBOSE="1")
    told = ended.stderr.decode()
    assert re.search(r"Control.ListMachines at \S+ failed, .*: .*starting", told)
    assert "\x1b" not in told


def test_people_are_told_why_they_wait() -> None:
    told = io.StringIO()
    with telling(told, verbose=False):
        logging.getLogger("mulligan.client.calls").debug("a call")
        logging.getLogger("mulligan.client.calls").info("nothing listens; trying for 12 s more")
    logging.getLogger("mulligan.client.calls").info("after the command")
    assert told.getvalue() == "note: nothing listens; trying for 12 s more\n"


async def test_without_it_nothing_is_told(cli: Cli) -> None:
    assert (await cli("machine", "list")).stderr in (b"", b"no machines\n")
