"""Every verb once, in every form, against services that answer anything with something."""

import json
import re
import sys
import types
import typing
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any

import anyio.to_thread
import betterproto2
import pytest
import yaml
from grpclib.const import Cardinality, Handler
from grpclib.server import Server, Stream

from mulligan.cli.main import NOUNS, load, main
from mulligan.events.codec import GENESIS_HASH, encode_entry
from mulligan.model import AT_HEADER, Seq
from mulligan.proto import v1
from mulligan.tls import TlsFiles, server_context
from tests.client.fakes import listen_locally
from tests.log.proof import export

UUID = "01920000-0000-7000-8000-000000000001"
NOTHING = encode_entry(Seq(1), GENESIS_HASH, "2027-01-01T00:00:00Z", [])
"""An entry of a log, and nothing in it."""

LOCAL = ("run", "certificate", "backup", "completion", "help")
_CONTEXTS = (f"context {verb}" for verb in ("add", "edit", "rename", "delete"))
LOCAL_VERBS = {"archive restore", "console", *_CONTEXTS}
"""What works on a region's folder or takes the screen, and is tried elsewhere."""

COMMANDS = """
login ada
logout
logout --everywhere
whoami
passwd --secret-file CERTIFICATE
context list
context use lab
context show
status
status --regions here
configure
configure all --log-level debug --logger mulligan.redfish --for 10m
configure control --rate 10 --burst 20 --in-flight 5 --trace-sample 0.5
machine enrol node-1 --bmc https://b --credential c --system 1 --insecure
machine enrol node-1 --bmc https://b --credential c --pin --profile p --inspect
machine enrol -f MACHINES --inspect
machine enrol -f MACHINES --dry-run
machine scan 192.0.2.0/30 --port 8443 --silent
machine scan 192.0.2.1 --enrol --credential c --pin --name n-{n:02} --parent p --dry-run
machine scan 192.0.2.1 --csv LIST --http
machine list --state failed --limit 1
machine list --under p --name-like n* --manufacturer d* --model r* --health warning
machine show node-1
machine inspect node-1 node-2
machine inspect --state enrolled --yes
machine adopt node-1 --project p
machine provide node-1
machine manage node-1
machine deploy claim-1 --image image-1 --user-data u --hostname h
machine release node-1
machine release --claim c --dry-run
machine rescue node-1 --image i --user-data u
machine restore node-1
machine power on node-1
machine power cycle --all --yes
machine keep-power none node-1
machine cordon node-1 --reason fan --until 2h --maintenance
machine uncordon --name-like n* --yes
machine retire node-1 --reason old
machine reinstate node-1
machine allow-logins node-1
machine update node-1 --bmc https://b --pin --profile p
machine abort node-1
machine retry node-1
machine delete node-1 --force --reason gone
machine why node-1
machine history node-1 --limit 1
machine actions node-1 --limit 1
machine wait node-1 --for enrolled
claim make --class machine=1 --class memory=64GiB -n 2 --require a.b --group g --for 4h --isolate
claim make -f REQUEST --not-before +1h --not-after +2d --for 4h --on-end keep_power_off
claim make --class machine=1 --for 4h --regions here --prefer least:price
claim list --regions here
claim exact node-1:memory=1GiB,machine=1 --start +1h --ending-notice 0
claim candidates -f REQUEST --limit 3 --seed 7
claim candidates -f REQUEST --all
claim plan -f REQUEST -f REQUEST --cordon p --cordon-group g --release c --quota x:gpu=1
claim explain claim-1
claim list --state active
claim list --stranded
claim list --from -1h --to +1h
claim list --gantt --by provider --width 60
claim list --gantt --ascii
claim show claim-1
claim move claim-1 --from p --to q --reason fan
claim reshape -f RESHAPE
claim release claim-1 claim-2 --yes
reservation make --class machine=1 --start +2h --for 4h
reservation list
reservation show claim-1
reservation extend claim-1 --by 1h
reservation shorten claim-1 --to -1h
reservation move-start claim-1 --to +1h
reservation cancel claim-1 claim-2 --yes
image create i --url https://i --sha256 00 --kind http-boot --ready-when phone-home
image list
image push i j --to here
image show i
image delete i
user-data create u -f REQUEST
user-data list
user-data show u
user-data delete u
profile set p --manufacturer Dell* --deadline deploy=2h --clean wipe --wipe-image i
profile list
profile show x
profile delete p
brake list
brake release x --reason mended
credential create c -u root --password-stdin
credential list
credential show c
credential rotate c
credential rotate c --password-stdin --timeout 1s
credential delete c
region list --under earth --visibility public -a power=wind
region show here
region update --parent earth --visibility internal -a power=wind --reached-at r:7001 --etag 1
region connect west --address w:7001 --ca-file CERTIFICATE --parent earth -a power=wind
region disconnect west east --yes
provider create p --type storage -a k=v -i memory=64GiB,reserved=1GiB -c a.b
provider create p --shares g --distance network:g=site --turnaround 30m
provider list --type machine --limit 1
provider show p
provider update p -a k=v
provider update p --parent q --turnaround 0 --shares g
provider tree
provider delete p
provider cordon p q --note x --failed --yes
provider uncordon p
provider usage p --end +4h
inventory list p
inventory set p memory=64GiB
group create g -a k=v
group list
group show g
group add g p q
group remove g p
group delete g
capability list hw --used
distance create network local site
distance extend network local row site
distance list
quota set x memory=1TiB gpu=none --max-lease 30d
quota show x
quota list
usage --from -7d --by class --project x --class memory
apply -f FLEET --yes
account create a --password-stdin
account list
account show a
account secret a --password-stdin
account disable a
account enable a
account bind a member --on project-1
account unbind a member --on project-1
account revoke a
account add-certificate a --file CERTIFICATE
account remove-certificate a x
account delete a b --yes
application-credential create a --role member --expires +30d
application-credential create b --password-stdin
application-credential list
application-credential delete a b --yes
role list
project create p --parent q
project list
project show p
project disable p
project enable p
project delete p q --yes
name resolve machine x
name describe x
name list machine
tag add machine x rack-7 hot
tag remove machine x hot
tag list machine x
metadata show machine x
metadata set machine x a=1 b=[2]
metadata remove machine x a
metadata find --kind machine --tag hot --where a=1
metadef create m -f SCHEMA --kind machine --read-role owner --protected
metadef create m --schema {}
metadef list
metadef push m --to here --replace
metadef show m
metadef update m --description d --unprotected
metadef delete m
iam key list
iam key rotate --use log
iam key rotate --compromised --yes
iam jwks
iam secrets rekey
iam import keystone -f KEYSTONE --dry-run
log tail -n 3 --data
diff 1 2 --kind machine --limit 3
diff 2027-01-01T08:00Z --stream machine/node-1
log show machine/node-1
log verify
log export EXPORT
log verify --file EXPORT
log checkpoint
log checkpoints --limit 1
log keys
log stats
audit --account a --project p --from -7d --to now --denied --command claim.make --limit 2
audit --done --all
audit --export -
archive list --limit 3
archive status
archive seal
archive verify
archive verify --from 1 --to 2
projection list
projection show x
projection retry x
rebuild x --verify
replay --check
replay --check --from EXPORT --to 1 --since 1 --show 5
version
"""


def lines() -> list[str]:
    return [line for line in COMMANDS.splitlines() if line]


def verbs_of(noun: str) -> Sequence[str]:
    group = load(noun)
    return sorted(getattr(group, "commands", {"": None}))


def test_no_verb_is_left_out_here() -> None:
    known = {
        f"{noun} {verb}".strip()
        for noun, (module, _) in NOUNS.items()
        if module not in LOCAL
        for verb in verbs_of(noun)
    }
    tried = {verb for verb in known for line in lines() if f"{line} ".startswith(f"{verb} ")}
    assert known - LOCAL_VERBS == tried


class Anything:
    """Answers every method of a service with its reply type, all fields filled."""

    def __init__(self, service: object, called: list[str]) -> None:
        self._methods = service.__mapping__()  # type: ignore[attr-defined]
        self._called = called

    def __mapping__(self) -> dict[str, Handler]:
        return {
            route: Handler(self._answer(route, handler), *handler[1:])
            for route, handler in self._methods.items()
        }

    def _answer(self, route: str, handler: Handler) -> Any:
        async def answer(stream: Stream[Any, Any]) -> None:
            request = await stream.recv_message()
            assert request is not None
            self._called.append(route)
            assert stream.metadata is not None
            if AT_HEADER in stream.metadata:
                moment = f"{stream.metadata[AT_HEADER]!s} 2027-01-31T08:00:00+00:00"
                await stream.send_initial_metadata(metadata={AT_HEADER: moment})
            await stream.send_message(filled(handler.reply_type))

        assert handler.cardinality in (Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM)
        return answer


def filled(kind: Any, depth: int = 0) -> Any:
    """Return a value of a message's field type that is not its default."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return filled(inner[0], depth)
    if origin is list:
        return [filled(inner[0], depth)] if depth < 4 else []
    if origin is dict:
        return {"memory": 1024} if inner[1] is int else {"k": filled(inner[1], depth)}
    if kind is datetime:
        return datetime.now(UTC)
    if kind is timedelta:
        return timedelta(hours=1)
    if kind.__name__ == "Struct":
        return kind.from_dict({"k": [1, None]})
    if issubclass(kind, betterproto2.Message):
        hints = typing.get_type_hints(kind, vars(sys.modules[kind.__module__]))
        fields = {name: hint for name, hint in hints.items() if name in kind.__dataclass_fields__}
        message = kind(**{name: filled(hint, depth + 1) for name, hint in fields.items()})
        return settled(message)
    if issubclass(kind, IntEnum):
        return kind(1)
    return {str: "x", bool: False, bytes: b"", int: 1, float: 1.0}[kind]


def settled(message: Any) -> Any:
    """Make what would go on for ever, or is no sound answer, end."""
    match message:
        case v1.Machine():
            message.operation = None
        case v1.Region():
            message.name, message.home = "here", True
        case v1.ExportedEntry():
            message.entry = NOTHING
        case v1.VerifyLogProgress() | v1.VerifyArchiveProgress():
            message.bad_seq = 0
        case v1.RekeyProgress():
            message.failed = 0
            message.finished = True
        case v1.RebuildProgress():
            message.finished = True
            message.phase = "equal"
        case _ if hasattr(message, "next_page_token"):
            message.next_page_token = ""
    return message


@pytest.fixture(scope="module")
def called() -> list[str]:
    """The methods that were called so far."""
    return []


@pytest.fixture(scope="module")
async def address(tls: TlsFiles, called: list[str]) -> AsyncIterator[str]:
    listener = listen_locally()
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    bases = [v1.IamBase, v1.MetaBase, v1.ResourceBase, v1.ControlBase, v1.ExecutorBase]
    bases += [v1.LogBase, v1.ProjectorBase, v1.ArchiverBase]

    class Catalog(v1.CatalogBase):
        async def list_endpoints(
            self, message: v1.ListEndpointsRequest
        ) -> v1.ListEndpointsResponse:
            services = (
                "iam",
                "meta",
                "resource",
                "control",
                "executor",
                "log",
                "projector",
                "archiver",
            )
            endpoints = [
                v1.Endpoint(service=service, instance="i", address=address, region="here")
                for service in services
            ]
            return v1.ListEndpointsResponse(region="here", endpoints=endpoints)

    server = Server([Catalog(), *(Anything(base(), called) for base in bases)])
    await server.start(sock=listener, ssl=server_context(tls))
    yield address
    server.close()
    await server.wait_closed()


@pytest.fixture
def region_of_anything(
    address: str, tls: TlsFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    (tmp_path / "config.toml").write_text(
        f'current = "lab"\n[contexts.lab]\naddress = ["{address}"]\nca = "{tls.ca}"\n'
        'account = "ada"\n'
    )
    (tmp_path / "fleet.yaml").write_text("groups: [{name: g, members: [p]}]\n")
    (tmp_path / "certificate.yaml").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "request.yaml").write_text("groups: [{name: g, resources: {machine: 1}}]\n")
    (tmp_path / "reshape.yaml").write_text("claims: {c: [{provider: p, amounts: {machine: 1}}]}\n")
    (tmp_path / "schema.yaml").write_text("type: string\n")
    (tmp_path / "machines.yaml").write_text(
        "- {name: y, address: https://b, credential: x, parent: x, profile: x}\n"
    )
    (tmp_path / "keystone.yaml").write_text('{"projects": []}')
    export(tmp_path / "export.yaml", [NOTHING])
    monkeypatch.setenv("MULLIGAN_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MULLIGAN_SECRET", "secret")
    return tmp_path


def words(line: str, folder: Path) -> list[str]:
    """Return the words of a line, with the files that it names."""
    for word in (
        "CERTIFICATE",
        "FLEET",
        "REQUEST",
        "RESHAPE",
        "MACHINES",
        "LIST",
        "KEYSTONE",
        "SCHEMA",
        "EXPORT",
    ):
        line = line.replace(word, str(folder / f"{word.lower()}.yaml"))
    return line.split()


@pytest.mark.parametrize("line", lines())
async def test_a_verb_prints_a_table_and_json(
    line: str,
    region_of_anything: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = words(line, region_of_anything)
    for form in ("wide", "json", "yaml", "name"):
        monkeypatch.setattr("sys.stdin", StandardInput())
        more = [] if line == "version" else ["-o", form]
        code = await anyio.to_thread.run_sync(main, [*arguments, *more])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        if form == "json" and printed.out and line != "version":
            assert json.loads(printed.out) is not None
        if form == "yaml" and line != "version":
            list(yaml.safe_load_all(printed.out))


NOT_OF_THE_PAST = re.compile(r"version$|log tail .*-f|log verify --file|replay --check --from")


@pytest.mark.parametrize("line", [line for line in lines() if not NOT_OF_THE_PAST.match(line)])
async def test_a_verb_reads_as_of_then_or_refuses_before_it_calls_anybody(
    line: str,
    region_of_anything: Path,
    called: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", StandardInput())
    before = len(called)
    arguments = [*words(line, region_of_anything), "--at", "#1234"]
    code = await anyio.to_thread.run_sync(main, arguments)
    printed = capsys.readouterr()
    asked = {one for one in called[before:] if one not in LOGINS}
    if code == 0:
        assert asked <= v1.READS
        assert asked
        assert "as of #1234, 2027-01-31 08:00:00 UTC" in printed.err
    else:
        assert code == 2, printed.err
        assert "--at" in printed.err
        assert not asked


READING = re.compile(
    r"\S+( \S+)? (list|show|tree|usage|candidates|explain|plan|why|history|actions|find|resolve"
    r"|describe|tail|stats) |(usage|audit) "
)
PRESENT = re.compile(r"(context|role|projection|archive|iam|backup) |user-data show")
"""What looks like reading, and tells of now only."""


def test_every_verb_that_reads_takes_a_moment() -> None:
    for line in lines():
        if READING.match(f"{line} ") and not PRESENT.match(line):
            noun, verb = [*line.split(), ""][:2]
            group = load(noun)
            command = getattr(group, "commands", {}).get(verb, group)
            assert getattr(command.callback, "reads", False), line


LOGINS = ("/mulligan.v1.Iam/Login", "/mulligan.v1.Iam/Refresh")


class StandardInput:
    """A pipe that holds a secret."""

    def isatty(self) -> bool:
        return False

    def readline(self) -> str:
        return "secret\n"
