import json
import sys
from pathlib import Path

import anyio
import pytest
from google.rpc import error_details_pb2 as rpc
from grpclib import GRPCError, Status

from mulligan.cli.main import NOUNS, load
from mulligan.proto import v1
from tests.cli.conftest import Cli
from tests.client.fakes import SECRET, Cluster, FakeRegion


@pytest.mark.parametrize("noun", [noun for noun in NOUNS if NOUNS[noun][0] != "run"])
def test_every_first_word_has_its_command_and_help(noun: str) -> None:
    command = load(noun)
    assert command.help or command.get_short_help_str()


async def test_help_and_version_do_not_import_grpc(environment: dict[str, str]) -> None:
    program = (
        "import sys; from mulligan.cli.main import main; main(['--help']); main(['version']);"
        "sys.exit(any(name in sys.modules for name in ('grpclib', 'msgspec', 'rich', 'asyncpg')))"
    )
    ended = await anyio.run_process([sys.executable, "-c", program], env=environment)
    assert b"machine" in ended.stdout


async def test_to_list_machines_imports_only_what_that_takes(environment: dict[str, str]) -> None:
    program = (
        "import sys; import mulligan.cli.machine, mulligan.client.client;"
        "print([name for name in ('pydantic', 'dateutil', 'google.protobuf', 'hashlib', 'csv',"
        " 'fractions', 'yaml', 'opentelemetry', 'uvloop') if name in sys.modules])"
    )
    ended = await anyio.run_process([sys.executable, "-c", program], env=environment)
    assert ended.stdout == b"[]\n"


async def test_a_machine_is_enrolled_and_shown_in_every_form(cli: Cli) -> None:
    made = await cli("machine", "enrol", "node-1", "--bmc", "https://b", "--credential", "c", "-q")
    assert (made.returncode, made.stdout) == (0, b"m-1\n")
    table = await cli("machine", "list")
    head, row = table.stdout.decode().splitlines()
    assert head.split() == ["NAME", "STATE", "POWER", "HEALTH", "OPERATION", "CLAIM", "FAULT"]
    assert row.split() == ["node-1", "enrolled", "-", "-", "-", "-", "-"]
    shown = json.loads((await cli("machine", "list", "-o", "json")).stdout)
    assert shown[0]["name"] == "node-1"
    assert shown[0]["state"] == "enrolled"
    assert "failed_operation" in shown[0], "keys are there even when empty"
    assert (await cli("-o", "name", "machine", "list")).stdout == b"node-1\n"
    assert b"state: enrolled" in (await cli("machine", "show", "node-1", "-o", "yaml")).stdout


async def test_names_are_read_from_standard_input(cli: Cli) -> None:
    await cli("machine", "enrol", "node-1", "--bmc", "https://b", "--credential", "c")
    ended = await cli("machine", "inspect", "-", "--wait", stdin=b"node-1\n")
    assert ended.returncode == 0
    assert b"manageable" in ended.stdout
    assert b"node-1: manageable" in ended.stderr


async def test_why_is_a_tree(cli: Cli) -> None:
    ended = await cli("machine", "why", "node-1")
    assert ended.stdout.decode().splitlines() == [
        "node-1 is manageable and rests",
        "├─ InspectMachine  [ada]",
        "│    asked",
        "└─ it rests",
    ]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.INVALID_ARGUMENT, 2),
        (Status.NOT_FOUND, 3),
        (Status.PERMISSION_DENIED, 4),
        (Status.ALREADY_EXISTS, 5),
        (Status.ABORTED, 5),
        (Status.FAILED_PRECONDITION, 6),
        (Status.RESOURCE_EXHAUSTED, 7),
        (Status.DATA_LOSS, 1),
        (Status.INTERNAL, 1),
    ],
)
async def test_each_class_of_error_has_its_exit_code(
    cli: Cli, region: FakeRegion, status: Status, code: int
) -> None:
    region.failures = [GRPCError(status, "it cannot be")]
    ended = await cli("machine", "list")
    assert ended.returncode == code
    assert ended.stderr.startswith(b"error: it cannot be")
    assert ended.stdout == b""


async def test_an_invalid_field_is_named(cli: Cli, region: FakeRegion) -> None:
    bad = rpc.BadRequest(
        field_violations=[
            rpc.BadRequest.FieldViolation(field="bmc.address", description="must be a URL")
        ]
    )
    region.failures = [GRPCError(Status.INVALID_ARGUMENT, "bmc.address: must be a URL", [bad])]
    ended = await cli("machine", "enrol", "n", "--bmc", "b", "--credential", "c")
    assert ended.returncode == 2
    assert ended.stderr == b"error: bmc.address: must be a URL\n"


async def test_an_absent_control_plane_exits_8(cli: Cli, cluster: Cluster) -> None:
    await cluster.stop(cluster.instances[0])
    ended = await cli("machine", "list", MULLIGAN_PATIENCE="0.3")
    assert ended.returncode == 8
    assert b"nothing listens at" in ended.stderr
    assert b"mulligan status" in ended.stderr


async def test_without_a_context_the_error_says_how_to_get_one(outside: Cli) -> None:
    ended = await outside("machine", "list")
    assert ended.returncode == 6
    assert b"`mulligan up`" in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("machine", "lst"),
        ("machin",),
        ("machine", "list", "--stat", "x"),
        ("machine", "list", "--state", "lost"),
        ("machine", "list", "-o", "xml"),
        ("machine", "power", "sideways", "node-1"),
        ("claim", "make"),
        ("claim", "make", "--class", "memory=lots"),
        ("reservation", "make", "--class", "machine=1"),
        ("apply", "-f", "absent.yaml"),
    ],
)
async def test_usage_errors_exit_2_and_name_the_next_step(
    cli: Cli, arguments: tuple[str, ...]
) -> None:
    ended = await cli(*arguments)
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"error: ")


async def test_deleting_several_without_a_terminal_needs_yes(cli: Cli) -> None:
    ended = await cli("machine", "delete", "a", "b")
    assert ended.returncode == 6
    assert b"--yes" in ended.stderr


async def test_some_failures_of_several_are_each_reported(cli: Cli, region: FakeRegion) -> None:
    region.machines["a"] = v1.Machine(uuid="a", name="a", state=v1.MachineState.MANAGEABLE)
    ended = await cli("machine", "wait", "a", "b", "c")
    assert ended.returncode == 3
    assert ended.stderr.count(b"was not found") == 2
    assert b"2 of 3 failed" in ended.stderr


async def test_a_login_is_kept_as_a_context_and_used_afterwards(
    outside: Cli, cluster: Cluster, region: FakeRegion, tmp_path: Path
) -> None:
    arguments = ("login", "ada", "--ca", str(cluster.tls.ca), "--save-as", "lab")
    address = ("--address", cluster.instances[0].address)
    ended = await outside(*arguments, *address, "--password-stdin", stdin=f"{SECRET}\n".encode())
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / ".config/mulligan/config.toml").stat().st_mode & 0o777 == 0o600
    assert SECRET not in (tmp_path / ".config/mulligan/config.toml").read_text()
    assert b"ada" in (await outside("whoami")).stdout
    assert region.logins == 1
    listed = json.loads((await outside("context", "list", "-o", "json")).stdout)
    assert [(one["name"], one["current"]) for one in listed] == [("lab", True)]
    await outside("logout")
    ended = await outside("whoami")
    assert ended.returncode == 4
    assert b"mulligan login" in ended.stderr


async def test_a_wrong_secret_exits_4(cli: Cli) -> None:
    ended = await cli("whoami", MULLIGAN_SECRET="wrong")
    assert ended.returncode == 4
    assert b"was refused" in ended.stderr


async def test_status_names_what_is_missing(cli: Cli) -> None:
    ended = await cli("status")
    assert ended.returncode == 0
    assert b"no archiver service is registered" in ended.stdout
    assert b"mulligan serve archiver" in ended.stdout


async def test_a_reader_that_goes_away_is_no_error(
    cluster: Cluster, cli: Cli, environment: dict[str, str]
) -> None:
    program = f"{sys.executable} -m mulligan.cli.main --help | head -1"
    ended = await anyio.run_process(["bash", "-c", program], env=environment)
    assert ended.stderr == b""
