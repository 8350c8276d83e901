"""The log proves itself: checkpoints through the edge, and exports that are checked offline."""

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import anyio.to_thread
import pytest
from grpclib import Status

from mulligan.cli.main import main
from mulligan.events.codec import decode_entry, entry_hash
from mulligan.model import new_id
from mulligan.proto import v1
from tests.e2e.region import RunningRegion
from tests.services.edge import Edge, refusal

SECRET = "a-secret-of-an-auditor"


@pytest.fixture(scope="module")
async def edge(keyed: RunningRegion) -> AsyncIterator[Edge]:
    bare = Edge(keyed)
    yield bare
    bare.close()


@pytest.fixture
async def admin(edge: Edge) -> str:
    return await edge.admin()


async def sign(edge: Edge, token: str, request_id: str = "") -> v1.Checkpoint:
    request = v1.SignCheckpointRequest(request_id=request_id)
    answer = await edge.call("log.sign_checkpoint", request, token)
    assert answer.checkpoint is not None
    signed: v1.Checkpoint = answer.checkpoint
    return signed


async def work(edge: Edge, token: str) -> None:
    name = f"p-{new_id()[-12:]}"
    await edge.call("iam.create_project", v1.CreateProjectRequest(name=name), token)


async def exported(edge: Edge, token: str, first: int = 0, last: int = 0) -> list[bytes]:
    stub = v1.LogStub(edge.channel("log"))
    metadata = {"authorization": f"Bearer {token}"}
    request = v1.ExportLogRequest(first=first, last=last)
    return [one.entry async for one in stub.export_log(request, metadata=metadata, timeout=20)]


async def test_a_checkpoint_is_in_the_log_and_in_the_list_and_is_made_once_a_request(
    edge: Edge, admin: str
) -> None:
    await work(edge, admin)
    request_id = new_id()
    signed = await sign(edge, admin, request_id)
    assert await sign(edge, admin, request_id) == signed
    entries = await exported(edge, admin)
    assert signed.hash == entry_hash(entries[signed.seq - 1])
    events = [e for c in decode_entry(entries[signed.seq]).commits for e in c.events]
    assert "checkpoint.signed" in {e.type for e in events}
    status = await edge.call("log.get_log_status", v1.GetLogStatusRequest(), admin)
    request = v1.ListCheckpointsRequest(freshness=v1.Freshness(at_least=status.head))
    found = await edge.call("log.list_checkpoints", request, admin)
    assert found.checkpoints[0] == signed


async def test_an_export_is_the_log_byte_for_byte(edge: Edge, admin: str) -> None:
    entries = await exported(edge, admin)
    assert [decode_entry(entry).seq for entry in entries] == [*range(1, len(entries) + 1)]
    for entry, following in pairwise(entries):
        assert decode_entry(following).prev == entry_hash(entry)
    assert await exported(edge, admin, 2, 3) == entries[1:3]
    for first, last in ((3, 2), (1, 10**9)):
        stub = v1.LogStub(edge.channel("log"))
        metadata = {"authorization": f"Bearer {admin}"}
        request = v1.ExportLogRequest(first=first, last=last)
        refused = await refusal(
            anext(aiter(stub.export_log(request, metadata=metadata, timeout=20)))
        )
        assert refused.status is Status.INVALID_ARGUMENT


async def mulligan(*arguments: str) -> int:
    return await anyio.to_thread.run_sync(main, list(arguments))


def cheat(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"project.created", b"project.cheated", 1))


async def test_what_was_exported_is_proven_without_a_connection(
    edge: Edge,
    admin: str,
    keyed: RunningRegion,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in keyed.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    log, keys = str(tmp_path / "log.jsonl"), tmp_path / "keys.json"
    signed = await sign(edge, admin)
    rotated = v1.RotateKeyRequest(use="log")
    await edge.call("iam.rotate_key", rotated, admin)
    await work(edge, admin)
    newest = await sign(edge, admin)
    assert int(newest.kid) > int(signed.kid), "the successor signs"
    await work(edge, admin)
    assert await mulligan("log", "verify") == 0
    assert f"vouched for up to entry {newest.seq}" in capsys.readouterr().out
    assert await mulligan("log", "keys") == 0
    keys.write_text(capsys.readouterr().out)
    assert "retired_at" in json.loads(keys.read_text())["keys"][0]
    assert await mulligan("log", "export", log) == 0
    noted = capsys.readouterr().out.split("note ")[1].split()[0]

    for name in keyed.environment:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MULLIGAN_CONFIG", str(tmp_path / "none"))
    proof = ("log", "verify", "--file", log)
    assert await mulligan(*proof, "--keys", str(keys), "--expect", noted) == 0
    said = capsys.readouterr().out
    assert f"vouched for up to entry {newest.seq}, signed" in said
    assert f"with key {newest.kid}, which you trust" in said
    assert "chained, not yet signed" in said
    assert await mulligan(*proof, "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["vouched"] == newest.seq
    assert await mulligan(*proof) == 0
    assert "trusting the keys in the file itself" in capsys.readouterr().out

    cheat(Path(log))
    assert await mulligan(*proof) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: log entry ")
    assert "does not follow" in told


async def test_only_who_may_audit_may_export_and_sign(edge: Edge, admin: str) -> None:
    await edge.call("iam.create_project", v1.CreateProjectRequest(name="proofs"), admin)
    for account, role, project in (("aud", "auditor", ""), ("own", "owner", "proofs")):
        made = v1.CreateAccountRequest(name=account, secret=SECRET)
        await edge.call("iam.create_account", made, admin)
        binding = v1.RoleBinding(role=role, project=project)
        request = v1.BindRoleRequest(account=account, binding=binding)
        await edge.call("iam.bind_role", request, admin)
    auditor = await edge.token("aud", SECRET)
    assert await exported(edge, auditor, 1, 1)
    await sign(edge, auditor)
    owner = await edge.token("own", SECRET, "proofs")
    for call in (
        edge.call("log.sign_checkpoint", v1.SignCheckpointRequest(), owner),
        edge.call("log.list_checkpoints", v1.ListCheckpointsRequest(), owner),
        edge.call("log.get_log_keys", v1.GetLogKeysRequest(), owner),
        exported(edge, owner),
    ):
        assert (await refusal(call)).status is Status.PERMISSION_DENIED
