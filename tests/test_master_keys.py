"""Master keys: where they come from, and how they are changed while processes run."""

import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import pytest

import mulligan.master_key
from mulligan.errors import Corrupt, NotFound, Unavailable
from mulligan.master_key import MASTER_KEY_ENV, MasterKeyError, MasterKeys, load_master_keys
from mulligan.master_key import make_master_key as new_key
from mulligan.model import RegionName, new_id
from mulligan.secrets import PAGE, MemorySecretKv, Name, SecretStore
from tests.embedded.processes import alive

EAST = RegionName("east")
NOWHERE = Path("/nowhere/secrets.key")
PASSWORD = b"hunter2-and-more"


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", program)


class Host:
    """A host with a file of master keys and a process that reads them anew when told to."""

    def __init__(self, kv: MemorySecretKv, *lines: str) -> None:
        self.lines: Sequence[str] = lines
        self.reads = 0
        self.store = SecretStore(EAST, self.keys(), kv, reload=self.reload)

    def keys(self) -> MasterKeys:
        return load_master_keys(NOWHERE, {MASTER_KEY_ENV: " ".join(self.lines)})

    async def reload(self) -> MasterKeys:
        self.reads += 1
        return self.keys()


@pytest.fixture
def kv() -> MemorySecretKv:
    return MemorySecretKv()


def test_a_command_goes_before_the_environment_and_the_file() -> None:
    printed, other = new_key(), new_key()
    command = python(f"print({printed!r})")
    held = load_master_keys(NOWHERE, {MASTER_KEY_ENV: other}, command)
    assert held.ids == load_master_keys(NOWHERE, {MASTER_KEY_ENV: printed}).ids


def test_a_command_prints_several_keys_newest_first() -> None:
    one, two = new_key(), new_key()
    held = load_master_keys(NOWHERE, {}, python(f"print({one!r}); print({two!r})"))
    assert held.ids == load_master_keys(NOWHERE, {MASTER_KEY_ENV: f"{one} {two}"}).ids


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("print('hunter2'); raise SystemExit(3)", "ended with exit code 3"),
        ("import sys; sys.stderr.write('hunter2'); sys.exit(1)", "ended with exit code 1"),
        ("print('hunter2')", "32 bytes in base64"),
        ("print('aHVudGVyMg==')", "32 bytes"),
        ("print('hunter2 ü')", "printed what is no key"),
        ("print('')", "32 bytes"),
        ("print('hunter2' * 100_000)", "not done"),
    ],
)
def test_a_command_that_fails_is_named_and_not_quoted(
    program: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MasterKeyError, match=says) as caught:
        load_master_keys(NOWHERE, {}, python(program))
    said = "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr())
    assert "hunter2" not in said.replace(program, "")
    assert "aHVudGVyMg" not in said


def test_a_command_that_hangs_ends_with_all_that_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mulligan.master_key, "COMMAND_S", 0.5)
    script = "sleep 60 & echo $! > " + str(tmp_path / "pid") + "; sleep 60"
    with pytest.raises(MasterKeyError, match=r"key_command sh was not done within"):
        load_master_keys(NOWHERE, {}, ("/bin/sh", "-c", script))
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while alive(pid):
        assert time.monotonic() < deadline, "what it started goes on"


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(MasterKeyError, match=r"key_command kms-client: No such file"):
        load_master_keys(NOWHERE, {}, ("/nowhere/kms-client", "--token", "hunter2"))


async def test_a_running_process_reads_the_keys_again_for_a_secret_under_a_new_one(
    kv: MemorySecretKv,
) -> None:
    old, new = new_key(), new_key()
    here, there = Host(kv, old), Host(kv, new, old)
    version = await there.store.put("bmc", "m1", PASSWORD)
    here.lines = (new, old)
    assert (await here.store.get("bmc", "m1", version)).reveal() == PASSWORD
    assert here.reads == 1


async def test_an_unknown_key_makes_nobody_read_the_keys_all_the_time(kv: MemorySecretKv) -> None:
    here, there = Host(kv, new_key()), Host(kv, new_key())
    version = await there.store.put("bmc", "m1", PASSWORD)
    for _ in range(5):
        with pytest.raises(Corrupt, match=r"master key .* not ours"):
            await here.store.get("bmc", "m1", version)
    assert here.reads == 1


async def rekey(store: SecretStore) -> int:
    await store.fence_off()
    return sum([await store.rewrap(name) async for name in store.names()])


async def test_rekeying_wraps_what_lies_under_older_keys_and_nothing_twice(
    kv: MemorySecretKv,
) -> None:
    old, new = new_key(), new_key()
    host = Host(kv, old)
    versions = [await host.store.put("bmc", f"m{n}", PASSWORD) for n in range(PAGE + 5)]
    host.lines = (new, old)
    assert await rekey(host.store) == PAGE + 5
    assert await rekey(host.store) == 0
    host.lines = (new,)
    only_new = Host(kv, new).store
    for n, version in enumerate(versions):
        assert (await only_new.get("bmc", f"m{n}", version)).reveal() == PASSWORD


async def test_what_was_saved_before_a_rekeying_does_not_open_once_the_old_key_is_destroyed(
    kv: MemorySecretKv,
) -> None:
    old, new = new_key(), new_key()
    host = Host(kv, old)
    version = await host.store.put("bmc", "m1", PASSWORD)
    gone = await host.store.put("bmc", "m2", PASSWORD)
    saved = dict(kv.values)
    await host.store.delete("bmc", "m2")
    host.lines = (new, old)
    await rekey(host.store)
    restored = MemorySecretKv()
    restored.values = saved
    after = Host(restored, new).store
    for id, name in (("m1", version), ("m2", gone)):
        with pytest.raises(Corrupt, match=r"master key .* not ours"):
            await after.get("bmc", id, name)
    assert (await Host(restored, old).store.get("bmc", "m2", gone)).reveal() == PASSWORD


async def test_after_a_rekeying_no_process_seals_with_an_older_key(kv: MemorySecretKv) -> None:
    old, new = new_key(), new_key()
    lagging, reordered = Host(kv, old), Host(kv, old, new)
    for host in (lagging, reordered):
        await host.store.put("bmc", "m1", PASSWORD)
    await rekey(Host(kv, new, old).store)
    only_new = Host(kv, new).store
    version = await reordered.store.put("bmc", "m2", PASSWORD)
    assert (await only_new.get("bmc", "m2", version)).reveal() == PASSWORD
    with pytest.raises(Unavailable, match="give it the newest one"):
        await lagging.store.put("bmc", "m3", PASSWORD)
    assert lagging.reads == 1


async def test_a_process_that_is_given_the_new_key_stores_secrets_again(kv: MemorySecretKv) -> None:
    old, new = new_key(), new_key()
    lagging = Host(kv, old)
    await rekey(Host(kv, new, old).store)
    lagging.lines = (new, old)
    version = await lagging.store.put("bmc", "m1", PASSWORD)
    assert (await Host(kv, new).store.get("bmc", "m1", version)).reveal() == PASSWORD


class Meddled(MemorySecretKv):
    """Something happens to a secret between being read and being replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.now_becomes: dict[str, bytes | None] = {}

    async def replace(self, key: str, old: bytes, new: bytes) -> bool:
        if key in self.now_becomes:
            value = self.now_becomes.pop(key)
            del self.values[key]
            if value is not None:
                self.values[key] = value
        return await super().replace(key, old, new)


async def test_a_secret_that_is_deleted_while_it_is_rekeyed_is_not_brought_back() -> None:
    kv = Meddled()
    old, new = new_key(), new_key()
    version = await Host(kv, old).store.put("bmc", "m1", PASSWORD)
    kv.now_becomes[f"bmc/m1/{version}"] = None
    store = Host(kv, new, old).store
    assert await rekey(store) == 0
    with pytest.raises(NotFound):
        await store.get("bmc", "m1", version)


async def test_two_rekeyings_at_once_undo_nothing_of_each_other() -> None:
    kv = Meddled()
    old, new = new_key(), new_key()
    version = await Host(kv, old).store.put("bmc", "m1", PASSWORD)
    first, other = Host(kv, new, old).store, Host(kv, new, old).store
    before = kv.values[path := f"bmc/m1/{version}"]
    await rekey(other)
    kv.now_becomes[path] = kv.values[path]
    kv.values[path] = before
    assert await rekey(first) == 0
    assert (await Host(kv, new).store.get("bmc", "m1", version)).reveal() == PASSWORD


async def test_a_secret_that_does_not_open_is_left_as_it_is(kv: MemorySecretKv) -> None:
    old, new = new_key(), new_key()
    await Host(kv, old).store.put("bmc", "m1", PASSWORD)
    name = Name("bmc", "m2", new_id())
    await kv.put("/".join(name), b"{}")
    store = Host(kv, new, old).store
    await store.fence_off()
    with pytest.raises(Corrupt, match="does not open"):
        await store.rewrap(name)
    assert kv.values["/".join(name)] == b"{}"


async def test_a_rekeying_with_keys_that_cannot_be_read_changes_nothing(kv: MemorySecretKv) -> None:
    host = Host(kv, new_key())
    await host.store.put("bmc", "m1", PASSWORD)
    before = dict(kv.values)
    host.lines = ("short",)
    with pytest.raises(MasterKeyError):
        await host.store.fence_off()
    assert kv.values == before


async def test_names_are_told_by_kind_and_what_is_no_secret_is_none(kv: MemorySecretKv) -> None:
    old, new = new_key(), new_key()
    store = Host(kv, old).store
    await store.put("bmc", "m1", PASSWORD)
    version = await store.put("account", "a1", PASSWORD)
    await Host(kv, new, old).store.fence_off()
    assert [name async for name in store.names("account")] == [Name("account", "a1", version)]
    assert {name.kind async for name in store.names()} == {"account", "bmc"}
