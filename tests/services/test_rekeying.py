"""The master key changes while services run, and what is deleted stays deleted."""

import os
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from mulligan.client import Client
from mulligan.log.etcd import Compacted, Etcd, KeyValue
from mulligan.log.keys import Keys
from mulligan.master_key import load_master_keys, make_master_key
from mulligan.model import RegionName, new_id
from mulligan.proto import v1
from mulligan.secrets import MasterKeys, SecretStore
from mulligan.services.runtime import etcd_settings
from mulligan.services.secrets.secretkv import EtcdSecretKv
from tests.e2e.region import RunningRegion, until

REGION = RegionName("keyed")
SECRETS = f"{Keys(REGION).prefix}secret/"
PASSWORD = "a-password-of-bmcs"
WRITERS, GROUPS_EACH = 4, 25


@pytest.fixture
async def etcd(keyed: RunningRegion) -> AsyncIterator[Etcd]:
    async with Etcd(etcd_settings(keyed.config)) as client:
        yield client


@pytest.fixture(scope="module")
def admin(keyed: RunningRegion) -> Client:
    return keyed.client()


def masters(keyed: RunningRegion) -> MasterKeys:
    return load_master_keys(keyed.config.secrets.key_file, {})


def write_keys(keyed: RunningRegion, *lines: str) -> None:
    path = keyed.config.secrets.key_file
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write("\n".join(lines))
    new.replace(path)


async def make_credential(admin: Client) -> str:
    request = v1.CreateCredentialRequest(name=f"c-{new_id()}", username="root", password=PASSWORD)
    return (await admin.control.create_credential(request)).credential.uuid  # type: ignore[union-attr]


async def sealed(etcd: Etcd, kind: str, uuid: str) -> KeyValue:
    found = (await etcd.range_prefix(f"{SECRETS}{kind}/{uuid}/")).kvs
    assert len(found) == 1
    return found[0]


async def unopened(etcd: Etcd, keys: MasterKeys) -> list[str]:
    """Return the names of the secrets that these master keys do not open."""
    store = SecretStore(REGION, keys, EtcdSecretKv(etcd, Keys(REGION)))
    return [str(name) async for name in store.names() if await store.rewrap(name)]


async def test_the_master_key_changes_under_running_services(
    keyed: RunningRegion, admin: Client, etcd: Etcd
) -> None:
    old, new = keyed.config.secrets.key_file.read_text().strip(), make_master_key()
    before = await make_credential(admin)
    write_keys(keyed, new, old)
    done = await keyed.cli("iam", "secrets", "rekey", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert '"failed": 0' in done.stdout
    after = await make_credential(admin)
    write_keys(keyed, new)
    store = SecretStore(REGION, masters(keyed), EtcdSecretKv(etcd, Keys(REGION)))
    names = [name async for name in store.names()]
    assert {before, after} <= {name.id for name in names}
    for name in names:
        await store.get(*name)
    await keyed.kill("iam")
    assert (await keyed.client().iam.who_am_i(v1.WhoAmIRequest())).account
    again = await keyed.cli("iam", "secrets", "rekey", "-o", "json")
    assert '"rekeyed": 0' in again.stdout


async def test_a_secret_that_does_not_open_is_named_and_the_others_are_rekeyed(
    keyed: RunningRegion, admin: Client, etcd: Etcd
) -> None:
    broken = f"{SECRETS}bmc/{new_id()}/{new_id()}"
    await etcd.put(broken, b'{"master":"x"}')
    old, new = keyed.config.secrets.key_file.read_text().strip(), make_master_key()
    write_keys(keyed, new, old)
    done = await keyed.cli("iam", "secrets", "rekey")
    assert done.returncode != 0
    assert "1 secrets could not be rekeyed: keep the old master key" in done.stderr
    assert broken.removeprefix(SECRETS) in done.stderr
    await etcd.delete(broken)
    done = await keyed.cli("iam", "secrets", "rekey", "-o", "json")
    assert done.returncode == 0
    assert '"rekeyed": 0' in done.stdout


async def test_a_deleted_secret_cannot_be_read_at_an_old_revision(
    keyed: RunningRegion, admin: Client, etcd: Etcd
) -> None:
    credential = await make_credential(admin)
    saved = await sealed(etcd, "bmc", credential)
    revision = (await etcd.status()).revision
    then = await etcd.range(saved.key, revision=revision)
    assert [kv.value for kv in then.kvs] == [saved.value]
    await admin.control.delete_credential(v1.DeleteCredentialRequest(credential=credential))

    async def forgotten() -> bool:
        try:
            await etcd.range(saved.key, revision=revision)
        except Compacted:
            return True
        return False

    await until(forgotten, "etcd has forgotten the secret", 15)
    assert await etcd.get(saved.key) is None


async def test_the_log_goes_on_while_history_is_compacted_under_it(
    keyed: RunningRegion, admin: Client, etcd: Etcd
) -> None:
    writers = [keyed.client() for _ in range(WRITERS)]
    compactions = 0
    seen: list[int] = []

    async def compact() -> None:
        nonlocal compactions
        while True:
            with suppress(Compacted):  # a service did it
                await etcd.compact((await etcd.status()).revision)
                compactions += 1
            await anyio.sleep(0.05)  # a hundred times as often as a service would

    async def watch() -> None:
        start = await admin.log.get_log_status(v1.GetLogStatusRequest())
        after = start.head.seq if start.head else 0
        async for record in admin.log.watch_log(v1.WatchLogRequest(after=after)):
            assert record.position is not None
            seen.append(record.position.seq)

    async def write(client: Client) -> None:
        for _ in range(GROUPS_EACH):
            request = v1.CreateGroupRequest(name=f"g-{new_id()}")
            made = await client.resource.create_group(request)
            assert made.group is not None
            await client.meta.list_names(v1.ListNamesRequest(kind="group"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(compact)
        tasks.start_soon(watch)
        async with anyio.create_task_group() as writing:
            for client in writers:
                writing.start_soon(write, client)

        async def all_seen() -> bool:
            return len(seen) >= WRITERS * GROUPS_EACH - 1

        await until(all_seen, "the watch saw every commit", 10)
        tasks.cancel_scope.cancel()
    assert compactions > 3
    assert seen == sorted(seen)
    verified = await keyed.cli("log", "verify")
    assert verified.returncode == 0, verified.stderr
