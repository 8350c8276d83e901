import base64
import copy
import pickle
import traceback
from pathlib import Path

import anyio
import msgspec
import pytest

from mulligan.errors import Corrupt, DeadlineExceeded, InvalidArgument, NotFound
from mulligan.model import RegionName, new_id
from mulligan.secrets import (
    MAX_SECRET_BYTES,
    MasterKeyError,
    MasterKeys,
    MemorySecretKv,
    Secret,
    SecretStore,
    load_master_keys,
    make_master_key,
    write_master_key,
)

EAST = RegionName("east")
PASSWORD = b"hunter2-and-more"


def keys(*lines: str) -> MasterKeys:
    return load_master_keys(Path("/unused"), {"MULLIGAN_SECRETS_KEY": " ".join(lines)})


@pytest.fixture
def kv() -> MemorySecretKv:
    return MemorySecretKv()


@pytest.fixture
def store(kv: MemorySecretKv) -> SecretStore:
    return SecretStore(EAST, keys(make_master_key()), kv)


async def test_a_secret_is_read_back_by_its_version(store: SecretStore) -> None:
    first = await store.put("bmc", "m1", PASSWORD)
    second = await store.put("bmc", "m1", b"newer")
    assert (await store.get("bmc", "m1", first)).reveal() == PASSWORD
    assert (await store.get("bmc", "m1", second)).reveal() == b"newer"
    assert first != second


async def test_what_is_stored_shows_neither_the_secret_nor_that_two_are_equal(
    store: SecretStore, kv: MemorySecretKv
) -> None:
    await store.put("bmc", "m1", PASSWORD)
    await store.put("bmc", "m2", PASSWORD)
    one, other = kv.values.values()
    assert PASSWORD not in one
    assert one != other


async def test_a_retired_version_is_gone_and_the_others_stay(store: SecretStore) -> None:
    old = await store.put("bmc", "m1", b"old")
    new = await store.put("bmc", "m1", b"new")
    await store.retire("bmc", "m1", old)
    await store.retire("bmc", "m1", old)
    with pytest.raises(NotFound):
        await store.get("bmc", "m1", old)
    assert (await store.get("bmc", "m1", new)).reveal() == b"new"


async def test_delete_takes_every_version_of_one_id_only(
    store: SecretStore, kv: MemorySecretKv
) -> None:
    await store.put("bmc", "m1", b"a")
    await store.put("bmc", "m1", b"b")
    kept = await store.put("bmc", "m11", b"c")
    await store.delete("bmc", "m1")
    assert list(kv.values) == [f"bmc/m11/{kept}"]


async def test_a_sealed_secret_moved_to_another_place_does_not_open(
    store: SecretStore, kv: MemorySecretKv
) -> None:
    version = await store.put("bmc", "m1", PASSWORD)
    sealed = kv.values[f"bmc/m1/{version}"]
    other = new_id()
    for kind, id, name in (("bmc", "m2", version), ("key", "m1", version), ("bmc", "m1", other)):
        await kv.put(f"{kind}/{id}/{name}", sealed)
        with pytest.raises(Corrupt, match="does not open"):
            await store.get(kind, id, name)


async def test_a_sealed_secret_of_another_region_does_not_open(kv: MemorySecretKv) -> None:
    line = make_master_key()
    version = await SecretStore(EAST, keys(line), kv).put("bmc", "m1", PASSWORD)
    with pytest.raises(Corrupt):
        await SecretStore(RegionName("west"), keys(line), kv).get("bmc", "m1", version)


@pytest.mark.parametrize("part", ["wrapped", "box"])
async def test_any_changed_byte_is_noticed(
    store: SecretStore, kv: MemorySecretKv, part: str
) -> None:
    version = await store.put("bmc", "m1", PASSWORD)
    key = f"bmc/m1/{version}"
    sealed = msgspec.json.decode(kv.values[key], type=dict[str, str])
    data = base64.b64decode(sealed[part])
    for at, byte in enumerate(data):
        changed = base64.b64encode(data[:at] + bytes([byte ^ 1]) + data[at + 1 :]).decode()
        await kv.put(key, msgspec.json.encode(sealed | {part: changed}))
        with pytest.raises(Corrupt, match="does not open"):
            await store.get("bmc", "m1", version)


async def test_a_sealed_secret_cut_short_is_noticed(store: SecretStore, kv: MemorySecretKv) -> None:
    version = await store.put("bmc", "m1", PASSWORD)
    key = f"bmc/m1/{version}"
    whole = kv.values[key]
    for length in range(len(whole)):
        await kv.put(key, whole[:length])
        with pytest.raises(Corrupt, match="does not open"):
            await store.get("bmc", "m1", version)


async def test_a_master_key_is_rotated_by_putting_the_new_one_first(kv: MemorySecretKv) -> None:
    old, new = make_master_key(), make_master_key()
    before = await SecretStore(EAST, keys(old), kv).put("bmc", "m1", PASSWORD)
    both = SecretStore(EAST, keys(new, old), kv)
    after = await both.put("bmc", "m1", PASSWORD)
    assert (await both.get("bmc", "m1", before)).reveal() == PASSWORD
    only_new = SecretStore(EAST, keys(new), kv)
    assert (await only_new.get("bmc", "m1", after)).reveal() == PASSWORD
    with pytest.raises(Corrupt, match=r"master key .* not ours"):
        await only_new.get("bmc", "m1", before)


async def test_a_secret_shows_itself_in_no_repr_error_or_pickle(
    store: SecretStore, kv: MemorySecretKv
) -> None:
    secret = await store.get("bmc", "m1", await store.put("bmc", "m1", PASSWORD))
    assert "hunter2" not in f"{secret} {secret!r} {store!r} {[secret]}"
    assert not hasattr(secret, "__dict__")
    for copying in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copying(secret)
    assert secret == Secret(PASSWORD)
    assert secret != Secret(b"other")
    with pytest.raises(InvalidArgument) as caught:
        await store.put("bm/c", "m1", PASSWORD)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("kind", "id"), [("", "x"), ("x", ""), ("a/b", "x"), ("x", "a/b")])
async def test_names_that_would_leave_their_folder_are_refused(
    store: SecretStore, kind: str, id: str
) -> None:
    with pytest.raises(InvalidArgument):
        await store.put(kind, id, b"")
    with pytest.raises(InvalidArgument):
        await store.delete(kind, id)


async def test_a_part_of_a_version_names_nothing(store: SecretStore) -> None:
    version = await store.put("bmc", "m1", PASSWORD)
    with pytest.raises(InvalidArgument):
        await store.retire("bmc", "m1", version[:4])


async def test_a_secret_that_is_too_long_is_refused(store: SecretStore) -> None:
    with pytest.raises(InvalidArgument):
        await store.put("bmc", "m1", b"x" * (MAX_SECRET_BYTES + 1))


async def test_a_silent_store_ends_in_a_deadline() -> None:
    class Silent(MemorySecretKv):
        async def get(self, key: str) -> bytes | None:
            await anyio.sleep_forever()
            return None

    store = SecretStore(EAST, keys(make_master_key()), Silent(), deadline=0.01)
    with pytest.raises(DeadlineExceeded):
        await store.get("bmc", "m1", new_id())


def test_a_key_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    write_master_key(path)
    held = load_master_keys(path, {})
    assert path.read_text().strip() not in repr(held)
    path.chmod(0o640)
    with pytest.raises(MasterKeyError, match="mode 0640; run: chmod 0600"):
        load_master_keys(path, {})


@pytest.mark.parametrize("text", ["", "short", "c2hvcnQ=", "###"])
def test_a_malformed_key_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secrets.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(MasterKeyError) as caught:
        load_master_keys(path, {})
    assert not text or text not in str(caught.value)


def test_a_missing_key_file_is_told_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError, match=r"No such file.*mulligan init"):
        load_master_keys(tmp_path / "none", {})
