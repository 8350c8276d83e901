"""A log that is not at hand reads like one that is: whole, in order, and proven on the way."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from mulligan.errors import Corrupt, FailedPrecondition, InvalidArgument, NotFound
from mulligan.events.codec import GENESIS_HASH, entry_hash
from mulligan.log.depot import FolderDepot
from mulligan.log.export_file import Header
from mulligan.log.offline import FetchedLog, OfflineLog, archived_log, exported_log
from mulligan.log.protocol import Head
from mulligan.log.segment import COPY, OWNER, Owner, manifest_name, pack
from mulligan.log.view import BrokenChain
from mulligan.model import Seq

from .proof import BEGAN, LOG_ID, REGION, Chain, export, rechained

LENGTH = 1200
"""More than are read at once."""


@pytest.fixture(scope="module")
def chain() -> Chain:
    made = Chain()
    made.work(LENGTH)
    return made


async def everything(log: OfflineLog, first: int = 1, last: int | None = None) -> list[bytes]:
    """Read entries to their bytes."""
    found: list[bytes] = []
    end = log.head.seq if last is None else Seq(last)
    async with aclosing(log.read(Seq(first), end)) as batches:
        async for batch in batches:
            assert [stored.seq for stored in batch] == list(
                range(first + len(found), first + len(found) + len(batch))
            )
            found += [stored.value for stored in batch]
    return found


def files(folder: Path, chain: Chain, *ends: int) -> list[Path]:
    """Export a chain in several files, each up to an entry."""
    paths, first = [], 1
    for end in ends:
        prev = entry_hash(chain.entries[first - 2]) if first > 1 else GENESIS_HASH
        part = chain.entries[first - 1 : end]
        paths.append(export(folder / f"{first}.log", part, first=first, prev=prev))
        first = end + 1
    return paths


async def archived(folder: Path, chain: Chain, ends: Sequence[int], copy_from: int) -> FolderDepot:
    """Archive a chain in segments up to these entries, and a copy of what comes from one on."""
    depot = FolderDepot(folder)
    await depot.put(OWNER, msgspec.json.encode(Owner(region=REGION, log_id=LOG_ID)))
    bounds, first = [], 1
    for end in ends:
        bounds.append((first, end, ""))
        first = end + 1
    bounds.append((copy_from, len(chain.entries), COPY))
    for first, last, name in bounds:
        prev = entry_hash(chain.entries[first - 2]) if first > 1 else GENESIS_HASH
        header = Header(
            region=REGION, log_id=LOG_ID, first=Seq(first), last=Seq(last), prev=prev, keys=()
        )
        entries = enumerate(chain.entries[first - 1 : last], start=first)
        packed = pack(header, entries, BEGAN, name)
        name = packed.manifest.name
        await depot.put(name, packed.data)
        await depot.put(manifest_name(name), msgspec.json.encode(packed.manifest))
    return depot


def fetched(entries: Sequence[bytes]) -> FetchedLog:
    """A log that hands over what is in a list."""

    async def fetch(first: Seq, last: Seq) -> AsyncIterator[bytes]:
        for value in entries[first - 1 : last]:
            yield value

    return FetchedLog(REGION, Head(seq=Seq(LENGTH), hash="", log_id=LOG_ID), fetch)


@pytest.fixture(params=["files", "archive", "fetched"])
async def log(request: pytest.FixtureRequest, tmp_path: Path, chain: Chain) -> OfflineLog:
    match request.param:
        case "files":
            return await exported_log(files(tmp_path, chain, 700, 701, LENGTH)[::-1])
        case "archive":
            return await archived_log(await archived(tmp_path, chain, (400, 900), 801))
        case _:
            return fetched(chain.entries)


async def test_every_entry_is_read_once_and_in_order(log: OfflineLog, chain: Chain) -> None:
    assert (log.head.seq, log.head.log_id, log.region) == (LENGTH, LOG_ID, REGION)
    assert await everything(log) == chain.entries


@pytest.mark.parametrize(("first", "last"), [(1, 1), (400, 401), (650, 903), (LENGTH, LENGTH)])
async def test_any_range_is_read_exactly(
    log: OfflineLog, chain: Chain, first: int, last: int
) -> None:
    assert await everything(log, first, last) == chain.entries[first - 1 : last]


@pytest.mark.parametrize("seq", [1, 2, 700, 801, LENGTH])
async def test_a_time_stands_for_the_last_entry_of_no_later(log: OfflineLog, seq: int) -> None:
    at = BEGAN.replace(microsecond=0).timestamp() + seq - 1
    text = f"{BEGAN.fromtimestamp(at + 0.5, BEGAN.tzinfo).isoformat()}"
    assert await log.end_at(text, "--to") == seq
    assert log.head.seq == seq
    assert len(await everything(log)) == seq


async def test_it_ends_where_it_is_told_to(log: OfflineLog) -> None:
    assert await log.end_at("900", "--to") == 900
    assert len(await everything(log)) == 900


@pytest.mark.parametrize("text", ["0", str(LENGTH + 1), "soon", "2020-01-01T00:00:00Z"])
async def test_an_end_that_is_none_is_refused(log: OfflineLog, text: str) -> None:
    with pytest.raises(InvalidArgument, match="--to"):
        await log.end_at(text, "--to")


async def test_nothing_can_be_done_but_read(log: OfflineLog) -> None:
    with pytest.raises(FailedPrecondition):
        log.tail(Seq(0))
    with pytest.raises(FailedPrecondition):
        await log.wait(Seq(LENGTH + 1))
    await log.wait(Seq(LENGTH))


async def test_a_rewritten_part_is_found_at_its_seam(tmp_path: Path, chain: Chain) -> None:
    first, _ = files(tmp_path, chain, 700, LENGTH)
    other = rechained(chain.entries[700:], 701, "0" * 64)
    second = export(tmp_path / "other.log", other, first=701, prev="0" * 64)
    with pytest.raises(BrokenChain, match="701"):
        await everything(await exported_log([first, second]))


async def test_a_part_that_is_missing_is_named(tmp_path: Path, chain: Chain) -> None:
    one, _, three = files(tmp_path, chain, 400, 700, LENGTH)
    with pytest.raises(FailedPrecondition, match="entry 401 is missing"):
        await exported_log([one, three])
    with pytest.raises(FailedPrecondition, match="entry 1 is missing"):
        await exported_log([three])


async def test_a_segment_that_was_changed_or_lost_is_found(tmp_path: Path, chain: Chain) -> None:
    depot = await archived(tmp_path, chain, (400, 900), 901)
    (name,) = [f.name for f in await depot.list("segments/") if f.name.endswith(".zst")][1:]
    data = await depot.get(name)
    await depot.put(name, data[:-20] + bytes(20))
    log = await archived_log(depot)
    assert len(await everything(log, 1, 400)) == 400
    with pytest.raises(Corrupt):
        await everything(log)
    await depot.delete(name)
    with pytest.raises((Corrupt, NotFound)):
        await everything(log)


async def test_a_folder_without_an_archive_says_so(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="no archive of a log"):
        await archived_log(FolderDepot(tmp_path))


async def test_a_log_that_is_handed_over_short_is_noticed(chain: Chain) -> None:
    with pytest.raises(BrokenChain, match=str(LENGTH)):
        await everything(fetched(chain.entries[:-1]))
