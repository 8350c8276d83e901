"""Secrets are planted wherever one can be given; then everything that is kept or said is searched.

What is searched: the files of etcd and Postgres as they lie on the disk, every value that etcd
holds, every row of the read models, the services' logs, the log's events as an auditor reads them,
the answers and errors of the calls, and the command lines of all processes.
"""

import base64
import secrets
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from grpclib import GRPCError

from mulligan import tracing
from mulligan.log.etcd import Etcd
from mulligan.proto import v1
from mulligan.services.runtime import etcd_settings
from tests.collector import Collector
from tests.e2e.fleet import IMAGE, rests
from tests.e2e.region import RunningRegion, until
from tests.embedded.processes import descendants
from tests.services.conftest import Tokens
from tests.services.edge import Edge
from tests.services.yard import Yard, exact

MEANT_FOR_SECRETS = frozenset({"admin.secret", "secrets.key"})
CHUNK = 4 * 2**20
TRACE = "00-00000000000000000000000000007e57-0000000000007e57-01"


def forms_of(secret: bytes) -> Iterator[bytes]:
    """Yield how a secret could be written: plain, hex, UTF-16, base64 at any place."""
    yield secret
    yield secret.hex().encode()
    yield secret.decode("latin-1").encode("utf-16-le")
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + secret)
        # The first and last characters depend on what stands beside the secret.
        sure = coded[4 if shift else 0 : len(coded) // 4 * 4 - 4]
        yield sure
        yield sure.replace(b"+", b"-").replace(b"/", b"_")


class Planted:
    """Secrets by what they are; tells which of them a text holds."""

    def __init__(self) -> None:
        self._forms: dict[bytes, str] = {}
        self.said: list[str] = []

    def plant(self, what: str, secret: str | bytes = "") -> str:
        """Return a secret, a new one unless it is given, to be found again as ``what``."""
        text = secret or f"Pl4nted-{secrets.token_urlsafe(18)}"
        raw = text.encode() if isinstance(text, str) else text
        for form in forms_of(raw):
            self._forms[form] = what
        return raw.decode("latin-1")

    def found_in(self, data: bytes) -> set[str]:
        """Return what is in there."""
        return {what for form, what in self._forms.items() if form in data}

    def found_in_file(self, path: Path) -> set[str]:
        """Return what is in a file, read in pieces that overlap."""
        found: set[str] = set()
        kept = b""
        longest = max(map(len, self._forms))
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                found |= self.found_in(kept + chunk)
                kept = chunk[-longest:]
        return found

    async def refused(self, edge: Edge, method: str, message: object, token: str = "") -> None:
        """Make a call that is refused, and keep what is said."""
        with pytest.raises(GRPCError) as raised:
            await edge.call(method, message, token)
        self.said.append(f"{raised.value.message} {raised.value.details}")


@pytest.fixture(scope="module")
async def planted(region: RunningRegion, edge: Edge, tokens: Tokens, yard: Yard) -> Planted:
    """A region in which every kind of secret was given, used, changed and refused."""
    plant = Planted()
    plant.plant("the administrator's secret", region.admin_secret)
    key = base64.b64decode(region.paths.master_key.read_text().split()[0])
    plant.plant("the master key", key)
    plant.plant("the master key as text", region.paths.master_key.read_text().split()[0])
    for name in ("ca", "service", "etcd"):
        plant.plant(f"the private key of {name}", pem_lines(region, name)[1])
    with tracing.following(TRACE):  # so that all of it is told to the collector
        await accounts(plant, edge, tokens, "\n".join(pem_lines(region, "ca")))
        await machines(plant, edge, yard)
    return plant


def pem_lines(region: RunningRegion, name: str) -> list[str]:
    """Return the lines of a private key of the region."""
    return region.paths.tls(name).key.read_text().splitlines()


async def accounts(plant: Planted, edge: Edge, tokens: Tokens, private_key: str) -> None:
    """Give secrets to an account, log in with them, and be refused with others."""
    first, second = plant.plant("a first secret"), plant.plant("a second secret")
    made = v1.CreateAccountRequest(name="petra", secret=first)
    plant.said.append(str(await edge.call("iam.create_account", made, tokens.admin)))
    binding = v1.RoleBinding(role="member", project="red")
    bound = v1.BindRoleRequest(account="petra", binding=binding)
    plant.said.append(str(await edge.call("iam.bind_role", bound, tokens.admin)))
    login = v1.LoginRequest(account="petra", secret=first, project="red")
    answer = await edge.call("iam.login", login)
    plant.plant("an access token", answer.access_token)
    plant.plant("a refresh token", answer.refresh_token)
    plant.said.append(str(await edge.call("iam.who_am_i", v1.WhoAmIRequest(), answer.access_token)))
    bot = plant.plant("an application credential's secret")
    asked = v1.CreateApplicationCredentialRequest(name="bot", secret=bot)
    made = await edge.call("iam.create_application_credential", asked, answer.access_token)
    plant.said.append(str(made))
    acting = v1.LoginRequest(account="petra/bot", secret=bot, project="red")
    plant.plant("a bot's token", (await edge.call("iam.login", acting)).access_token)
    third = plant.plant("a third secret")
    changed = v1.ChangeSecretRequest(old_secret=first, new_secret=third)
    plant.said.append(str(await edge.call("iam.change_secret", changed, answer.access_token)))
    replaced = v1.SetSecretRequest(account="petra", secret=second)
    plant.said.append(str(await edge.call("iam.set_secret", replaced, tokens.admin)))
    certificate = v1.AddCertificateRequest(account="petra", pem=private_key)
    await plant.refused(edge, "iam.add_certificate", certificate, tokens.admin)
    wrong = plant.plant("a wrong secret")
    await plant.refused(edge, "iam.login", v1.LoginRequest(account="petra", secret=wrong))
    await plant.refused(edge, "iam.refresh", v1.RefreshRequest(refresh_token=f"{wrong}.a.b"))
    await plant.refused(edge, "iam.who_am_i", v1.WhoAmIRequest(), f"{wrong}.{wrong}.{wrong}")
    long = plant.plant("a secret that is too long", "Pl4nted" + "x" * 3000)
    await plant.refused(
        edge, "iam.create_account", v1.CreateAccountRequest(name="x", secret=long), tokens.admin
    )


async def machines(plant: Planted, edge: Edge, yard: Yard) -> None:
    """Deploy a machine with user data, its BMC reached by a planted password."""
    password = plant.plant("a BMC password")
    yard.let_in("planted", password)
    plant.plant("a BMC login", f"planted:{password}")
    login = v1.CreateCredentialRequest(name="planted", username="planted", password=password)
    plant.said.append(str(await yard.admin.control.create_credential(login)))
    content = plant.plant("user data")
    data = v1.CreateUserDataRequest(
        name="planted", content=f"#cloud-config\nnote: {content}\n".encode()
    )
    plant.said.append(str(await yard.red.control.create_user_data(data)))
    (name,) = await yard.manageable()
    found = await yard.machine(name)
    assert found.bmc is not None
    bmc = v1.Bmc(
        address=found.bmc.address,
        system=found.bmc.system,
        insecure=found.bmc.insecure,
        fingerprint=found.bmc.fingerprint,
        credential="planted",
    )
    asked = v1.UpdateMachineRequest(machine=name, bmc=bmc)
    plant.said.append(str(await yard.admin.control.update_machine(asked)))
    await yard.ask("provide_machine", [name], v1.MachineState.AVAILABLE)
    claim = await exact(yard.red, "planted", name)
    deploy = v1.DeployMachineRequest(claim=claim, image=IMAGE, user_data="planted", machine=name)
    plant.said.append(str(await yard.red.control.deploy_machine(deploy)))
    await rests(yard.red, name, v1.MachineState.ACTIVE)
    plant.said.append(str(await yard.why(name)))
    actions = v1.ListActionsRequest(machine=name)
    plant.said.append(str(await yard.admin.control.list_actions(actions)))
    await yard.red.control.release_machine(v1.MachineRequest(machine=name))
    await rests(yard.admin, name, v1.MachineState.AVAILABLE)


def test_a_secret_is_found_however_it_is_written() -> None:
    plant = Planted()
    secret = plant.plant("it").encode()
    for text in (secret, secret.hex().encode(), secret.decode().encode("utf-16-le")):
        assert plant.found_in(b"before" + text + b"after") == {"it"}
    for before in (b"", b"u:", b"user:", b"abc:"):
        assert plant.found_in(base64.b64encode(before + secret + b"after")) == {"it"}
    assert plant.found_in(b"something else") == set()


def test_no_file_of_the_region_holds_a_secret(planted: Planted, region: RunningRegion) -> None:
    searched = 0
    for path in region.paths.state_dir.rglob("*"):
        if not path.is_file() or path.name in MEANT_FOR_SECRETS or path.suffix == ".key":
            continue
        searched += 1
        try:
            assert planted.found_in_file(path) == set(), path
        except FileNotFoundError:
            continue  # Postgres removes files while it works
    assert searched > 100, "etcd, Postgres and the logs are among them"


async def test_no_span_holds_a_secret(planted: Planted, collector: Collector) -> None:
    async def told() -> bool:
        return any(one.name == "redfish POST" for one in collector.spans)

    await until(told, "the collector hears of a deployment")
    assert {"Iam.Login", "Iam.SetSecret", "Control.CreateUserData"} <= {
        one.name for one in collector.spans
    }
    for body in list(collector.raw):
        assert planted.found_in(body) == set()


async def test_etcd_holds_no_secret_in_the_clear(planted: Planted, region: RunningRegion) -> None:
    count = 0
    async with Etcd(etcd_settings(region.config)) as etcd:
        everything = await etcd.range_prefix("/mulligan/")
        for found in everything.kvs:
            count += 1
            assert planted.found_in(found.value) == set(), found.key
    assert count > 100


async def test_postgres_holds_no_secret(planted: Planted, region: RunningRegion) -> None:
    connection = await asyncpg.connect(str(region.config.postgres.dsn))
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        rows = 0
        for table in tables:
            for row in await connection.fetch(f"SELECT t::text AS text FROM {table['name']} t"):
                rows += 1
                assert planted.found_in(row["text"].encode()) == set(), table["name"]
        assert rows > 100
    finally:
        await connection.close()


async def test_the_log_as_it_is_read_holds_no_secret(
    planted: Planted, edge: Edge, tokens: Tokens
) -> None:
    stub = v1.LogStub(edge.channel("log"))
    metadata = {"authorization": f"Bearer {tokens.admin}"}
    records = stub.read_log(v1.ReadLogRequest(), metadata=metadata, timeout=20)
    async for record in records:
        assert planted.found_in(bytes(record)) == set(), record.command


def test_no_answer_and_no_error_says_a_secret(planted: Planted) -> None:
    assert len(planted.said) > 10
    for text in planted.said:
        assert planted.found_in(text.encode()) == set(), text


def test_no_command_line_holds_a_secret(planted: Planted, region: RunningRegion) -> None:
    parts = [region.pid(name) for name in ("iam", "etcd", "executor")]
    assert all(parts)
    for pid in [*parts, *(child for part in parts for child in descendants(part))]:
        assert planted.found_in(Path(f"/proc/{pid}/cmdline").read_bytes()) == set()
