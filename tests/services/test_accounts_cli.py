"""Accounts as a person types them: certificates, application credentials, secrets, logging out."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest

from mulligan.cli.main import main
from mulligan.model import new_id
from mulligan.proto import v1
from mulligan.tls import issue, read_pair, write_pair
from tests.e2e.region import RunningRegion
from tests.services.conftest import SECRET, Tokens
from tests.services.edge import Edge


class Printed(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Typed = Callable[..., Awaitable[Printed]]


@pytest.fixture
def typed(
    region: RunningRegion,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Typed:
    """Run a command as its user would, with contexts and tokens of its own."""
    for name in ("MULLIGAN_SECRET", "MULLIGAN_ACCOUNT", "MULLIGAN_PROJECT", "MULLIGAN_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MULLIGAN_CONFIG", str(tmp_path / "client.toml"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MULLIGAN_ADDRESS", region.context.address[0])
    monkeypatch.setenv("MULLIGAN_CA", region.context.ca)

    async def run(*words: str) -> Printed:
        code = await anyio.to_thread.run_sync(main, words)
        return Printed(code, *capsys.readouterr())

    return run


@pytest.fixture
async def member(edge: Edge, tokens: Tokens) -> str:
    name = f"t-{new_id()[-12:]}"
    made = v1.CreateAccountRequest(name=name, secret=SECRET)
    await edge.call("iam.create_account", made, tokens.admin)
    binding = v1.RoleBinding(role="member", project="red")
    bind = v1.BindRoleRequest(account=name, binding=binding)
    await edge.call("iam.bind_role", bind, tokens.admin)
    return name


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


async def test_a_secret_is_changed_and_a_credential_made_and_used(
    typed: Typed, member: str, tmp_path: Path
) -> None:
    old, new = written(tmp_path, "old", SECRET), written(tmp_path, "new", "another-secret")
    logged_in = await typed("login", member, "--project", "red", "--secret-file", old)
    assert logged_in.code == 0, logged_in.err
    passwd = await typed("passwd", "--old-secret-file", old, "--secret-file", new)
    assert passwd.code == 0, passwd.err
    assert (await typed("login", "--project", "red", "--secret-file", old)).code != 0
    assert (await typed("login", "--project", "red", "--secret-file", new)).code == 0
    made = await typed(
        "application-credential", "create", "ci", "--role", "member", "--expires", "+1h", "-q"
    )
    assert made.code == 0, made.err
    secret = made.err.removeprefix("secret: ").strip()
    assert len(secret) >= 32
    listed = await typed("application-credential", "list", "-o", "json")
    assert [(a["name"], a["uuid"]) for a in json.loads(listed.out)] == [("ci", made.out.strip())]
    assert secret not in listed.out
    of_one = written(tmp_path, "ci", secret)
    acting = await typed("login", f"{member}/ci", "--save-as", "ci", "--secret-file", of_one)
    assert acting.code == 0, acting.err
    assert "member" in acting.out
    denied = await typed("application-credential", "create", "more", "--context", "ci")
    assert "application credential" in denied.err


async def test_a_certificate_logs_in_and_a_logout_ends_it_for_good(
    typed: Typed, region: RunningRegion, edge: Edge, tokens: Tokens, member: str, tmp_path: Path
) -> None:
    ca = region.paths.tls("ca")
    pair = issue(read_pair(ca.cert, ca.key), "robot", client=True)
    cert, key = tmp_path / "robot.pem", tmp_path / "robot.key"
    write_pair(pair, cert, key)
    add = v1.AddCertificateRequest(account=member, pem=pair.cert.decode())
    await edge.call("iam.add_certificate", add, tokens.admin)
    proof = ("--cert", str(cert), "--key", str(key))
    logged_in = await typed("login", *proof, "--project", "red", "--save-as", "robot")
    assert logged_in.code == 0, logged_in.err
    assert member in logged_in.out
    kept = next((tmp_path / "cache").rglob("robot*.json")).read_text()
    token = json.loads(kept)["tokens"]["access"]
    assert (await typed("whoami", "--context", "robot")).code == 0
    assert (await typed("logout", "--context", "robot")).code == 0
    with pytest.raises(Exception, match="ended"):
        await edge.call("iam.who_am_i", v1.WhoAmIRequest(), token)
    assert (await typed("claim", "list", "--context", "robot")).code == 0  # it logs in by itself
