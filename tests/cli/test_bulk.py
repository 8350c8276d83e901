"""Selections, dry runs, lists and scans, as an operator types them."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import anyio.to_thread
import pytest

from mulligan.cli.main import main
from mulligan.proto import v1
from mulligan.proto.v1 import MachineState as State
from mulligan.tls import TlsFiles
from tests.cli.fleet_service import Fleet, served


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Awaitable[Ended]]


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.add("node-10", State.MANAGEABLE)
    fleet.add("node-2", State.ENROLLED)
    fleet.add("spare-1", State.ENROLLED, model="X9")
    fleet.add("node-3", State.ACTIVE)
    return fleet


@pytest.fixture
async def cli(
    fleet: Fleet,
    tls: TlsFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> AsyncIterator[Cli]:
    async with served(fleet, tls) as address:
        for name, value in {
            "MULLIGAN_CONFIG": str(tmp_path / "config.toml"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "MULLIGAN_ADDRESS": address,
            "MULLIGAN_CA": str(tls.ca),
            "MULLIGAN_ACCOUNT": "ada",
            "MULLIGAN_SECRET": "secret",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)

        async def run(*arguments: str) -> Ended:
            code = await anyio.to_thread.run_sync(main, arguments)
            return Ended(code, *capsys.readouterr())

        yield run


async def test_a_selection_is_counted_by_state_and_served_in_the_order_of_names(
    cli: Cli, fleet: Fleet
) -> None:
    ended = await cli("machine", "inspect", "--name-like", "node-*", "--yes")
    assert ended.code == 0
    assert "inspect: 3 machines (1 active, 1 enrolled, 1 manageable)" in ended.err
    rows = [line.split()[0] for line in ended.out.splitlines()[1:]]
    assert rows == ["node-2", "node-3", "node-10"]
    assert sorted(fleet.asked_of(v1.MachineRequest)) == ["node-10", "node-2", "node-3"]


async def test_a_selection_is_not_served_where_nobody_can_be_asked(cli: Cli, fleet: Fleet) -> None:
    ended = await cli("machine", "inspect", "--state", "enrolled")
    assert ended.code == 6
    assert "2 machines (2 enrolled): node-2, spare-1?" in ended.err
    assert "--yes" in ended.err
    assert fleet.asked == []


async def test_a_dry_run_tells_what_each_machine_would_do_and_asks_nothing(
    cli: Cli, fleet: Fleet
) -> None:
    ended = await cli("machine", "inspect", "--all", "--dry-run", "-o", "json")
    would = {one["name"]: one["would"] for one in json.loads(ended.out)}
    assert would["node-2"] == would["node-10"] == "inspect"
    assert would["node-3"].startswith("be refused: it is active, and must be enrolled")
    named = await cli("machine", "release", "node-3", "nobody", "--dry-run")
    assert "machine 'nobody' was not found" in named.out
    assert "release would be asked of 1 of 2 machines; nothing was done" in named.err
    assert fleet.asked == []


async def test_one_refusal_of_a_selection_stops_no_other_and_exits_1(
    cli: Cli, fleet: Fleet
) -> None:
    fleet.refuse = {"node-2"}
    ended = await cli("machine", "inspect", "--state", "enrolled", "--yes")
    assert ended.code == 1
    assert "error: node-2 is busy" in ended.err
    assert "inspect: 1 done, 1 refused or failed" in ended.err
    assert [line.split()[0] for line in ended.out.splitlines()[1:]] == ["spare-1"]


async def test_several_names_exit_with_the_code_of_the_first_refusal(
    cli: Cli, fleet: Fleet
) -> None:
    fleet.refuse = {"node-2"}
    ended = await cli("machine", "inspect", "node-2", "spare-1")
    assert ended.code == 6
    assert "1 of 2 failed" in ended.err


async def test_a_machine_that_changed_since_it_was_selected_is_not_disrupted(
    cli: Cli, fleet: Fleet
) -> None:
    def claimed() -> None:
        fleet.named("node-3").claim = "another"

    fleet.before_look = claimed
    ended = await cli("machine", "release", "--state", "active", "--yes")
    assert ended.code == 1
    assert "node-3 is claimed otherwise by now" in ended.err
    assert fleet.asked == []


async def test_waiting_for_a_selection_returns_when_all_are_there(cli: Cli) -> None:
    ended = await cli("machine", "inspect", "--state", "enrolled", "--yes", "--wait")
    assert ended.code == 0
    assert ended.out.count("manageable") == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("machine", "inspect"),
        ("machine", "inspect", "node-2", "--all"),
        ("machine", "inspect", "--all", "--state", "enrolled"),
        ("machine", "inspect", "--health", "poor"),
        ("machine", "update", "--all", "--bmc", "https://b"),
        ("machine", "update", "node-2"),
        ("machine", "keep-power", "sideways", "node-2"),
        ("machine", "cordon", "node-2", "--reason", "x", "--until", "soon"),
        ("machine", "scan", "192.0.2.1", "--enrol"),
        ("machine", "scan", "192.0.2.1", "--name", "node"),
        ("machine", "enrol", "node-9", "--bmc", "https://b"),
        ("machine", "enrol", "node-9", "-f", "machines.csv"),
        ("profile", "set", "p", "--deadline", "dance=2h"),
        ("user-data", "create", "u", "-f", "absent"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    cli: Cli, fleet: Fleet, arguments: tuple[str, ...]
) -> None:
    ended = await cli(*arguments)
    assert ended.code == 2, ended
    assert fleet.asked == []


async def test_a_selection_that_finds_nothing_does_nothing(cli: Cli) -> None:
    ended = await cli("machine", "release", "--state", "failed", "--yes")
    assert (ended.code, ended.out) == (0, "")
    assert "no machine is selected" in ended.err


async def test_an_update_keeps_what_is_not_given(cli: Cli, fleet: Fleet) -> None:
    fleet.named("node-2").bmc = v1.Bmc(
        address="https://a", credential="c", system="7", fingerprint="ab"
    )
    await cli("machine", "update", "node-2", "--credential", "new", "--pin", "--profile", "dell")
    machine = fleet.named("node-2")
    assert machine.bmc == v1.Bmc(address="https://a", credential="new", system="7", pin=True)
    assert machine.profile == "dell"


LIST = """\
name,address,credential,parent,profile
# the new rack
node-20,https://192.0.2.20,c,rack-2,dell
node-21,https://192.0.2.21,c,,
"""


async def test_a_list_is_enrolled_and_repeating_it_changes_nothing(
    cli: Cli, fleet: Fleet, tmp_path: Path
) -> None:
    (tmp_path / "machines.csv").write_text(LIST)
    tried = await cli("machine", "enrol", "-f", "machines.csv", "--dry-run")
    assert tried.out.count("would enrol") == 2
    assert fleet.asked == []
    ended = await cli("machine", "enrol", "-f", "machines.csv", "--inspect", "--wait")
    assert ended.code == 0, ended.err
    assert ended.err.endswith("2 enrolled, 0 there already\n")
    assert fleet.named("node-21").state is State.MANAGEABLE
    again = await cli("machine", "enrol", "-f", "machines.csv")
    assert again.out.count("is there") == 2
    assert again.err.endswith("0 enrolled, 2 there already\n")


async def test_every_row_that_cannot_be_is_named_and_nothing_is_sent(
    cli: Cli, fleet: Fleet, tmp_path: Path
) -> None:
    text = LIST.replace("node-20", "node-3").replace(",c,,", ",d,row-9,hp")
    (tmp_path / "machines.csv").write_text(text)
    ended = await cli("machine", "enrol", "-f", "machines.csv")
    assert ended.code == 2
    assert ended.err.splitlines() == [
        "error: machines.csv:3: name: 'node-3' is the machine at https://node-3",
        "error: machines.csv:4: credential: there is no login 'd'",
        "error: machines.csv:4: profile: there is no hardware profile 'hp'",
        "error: machines.csv:4: parent: there is no provider 'row-9'",
    ]
    assert fleet.asked == []


async def test_a_row_that_fails_is_named_and_the_others_are_enrolled(
    cli: Cli, fleet: Fleet, tmp_path: Path
) -> None:
    fleet.refuse = {"node-20"}
    (tmp_path / "machines.csv").write_text(LIST)
    ended = await cli("machine", "enrol", "-f", "machines.csv")
    assert ended.code == 1
    assert "error: machines.csv:3: node-20: no" in ended.err
    assert "1 enrolled, 0 there already, 1 of 2 rows failed" in ended.err
    assert fleet.named("node-21").state is State.ENROLLED


def scanned(host: str, **told: str) -> v1.ScannedBmc:
    return v1.ScannedBmc(address=f"https://{host}", found=True, redfish_version="1.15.0", **told)


async def test_what_a_scan_writes_is_what_enrol_reads(
    cli: Cli, fleet: Fleet, tmp_path: Path
) -> None:
    fleet.add("node-1", State.ACTIVE, address="https://192.0.2.4:443/")
    fleet.answers = [
        scanned("192.0.2.10", vendor="Dell", fingerprint="ab" * 32),
        scanned("192.0.2.9", vendor="Contoso \x1b[2J"),
        v1.ScannedBmc(address="https://192.0.2.5", problem="nothing listens there"),
        scanned("192.0.2.4"),
    ]
    options = ("--csv", "found.csv", "--credential", "c", "--pin", "--name", "node-{n}")
    ended = await cli("machine", "scan", "192.0.2.0/28", *options)
    assert ended.code == 0, ended.err
    addresses = [line.split()[0] for line in ended.out.splitlines()[1:]]
    assert addresses == ["https://192.0.2.4", "https://192.0.2.9", "https://192.0.2.10"]
    assert "\x1b" not in ended.out
    assert "3 of 4 answered; 1 are enrolled already" in ended.err
    assert (tmp_path / "found.csv").read_text().splitlines()[1:] == [
        "node-4,https://192.0.2.9,c,,,,,true,",
        f"node-5,https://192.0.2.10,c,,,,{'ab' * 32},,",
    ]
    await cli("machine", "enrol", "-f", "found.csv")
    assert fleet.named("node-5").bmc == v1.Bmc(
        address="https://192.0.2.10", credential="c", fingerprint="ab" * 32
    )


async def test_a_scan_enrols_what_is_new_only_when_it_is_agreed(cli: Cli, fleet: Fleet) -> None:
    fleet.answers = [scanned("192.0.2.9"), scanned("node-3")]
    options = ("--enrol", "--credential", "c", "--name", "bmc-{host}")
    refused = await cli("machine", "scan", "192.0.2.9", *options)
    assert refused.code == 6
    assert "enrol 1 machines (bmc-192-0-2-9)?" in refused.err
    ended = await cli("machine", "scan", "192.0.2.9", *options, "--yes")
    assert ended.code == 0, ended.err
    assert fleet.named("bmc-192-0-2-9").state is State.ENROLLED
    assert len(fleet.machines) == 5
