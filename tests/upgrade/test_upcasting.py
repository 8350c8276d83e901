"""An event of an older schema version is brought up to date wherever it is read."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import anyio
import msgspec
import pytest

from mulligan.config import Dsn
from mulligan.embedded.postgres import EmbeddedPostgres
from mulligan.events.codec import GENESIS_HASH, encode_commit, encode_entry
from mulligan.events.envelope import Commit, EventRecord
from mulligan.log.export_file import Header, Writer
from mulligan.log.protocol import Stored
from mulligan.model import Seq
from tests.projections.histories import history
from tests.upgrade.as_read import report
from tests.upgrade.later_release import BEFORE, NOW, TYPE

ROOT = Path(__file__).parents[2]


def older(record: EventRecord) -> EventRecord:
    """Return an event as the release before wrote it."""
    if record.type != TYPE:
        return record
    data = msgspec.json.decode(record.data)
    before = {BEFORE if name == NOW else name: value for name, value in data.items()}
    return msgspec.structs.replace(record, data=msgspec.Raw(msgspec.json.encode(before)))


def older_commit(commit: Commit) -> Commit:
    return msgspec.structs.replace(commit, events=tuple(map(older, commit.events)))


def export(file: Path, entries: list[Stored], *, as_before: bool) -> Path:
    """Export entries, as they are or as the release before wrote them."""
    last, prev = Seq(len(entries)), GENESIS_HASH
    with file.open("wb") as opened:
        header = Header(region="r1", log_id="l", first=Seq(1), last=last, prev=prev)
        writer = Writer(opened, header)
        for stored in entries:
            commits: Iterable[Commit] = stored.entry.commits
            commits = map(older_commit, commits) if as_before else commits
            at = stored.entry.at.isoformat().replace("+00:00", "Z")
            value = encode_entry(stored.seq, prev, at, [encode_commit(c) for c in commits])
            prev = writer.write(stored.seq, value).hash
        writer.finish()
    return file


@pytest.fixture
def another(postgres_server: EmbeddedPostgres, database: Dsn) -> Dsn:
    """A second database; it goes with the server."""
    return postgres_server.create_database(f"{database.rpartition('/')[2].partition('?')[0]}_b")


async def test_a_later_release_reads_a_renamed_field_everywhere(
    tmp_path: Path, database: Dsn, another: Dsn
) -> None:
    entries = list(history(73, steps=120).entries)
    now = await report(export(tmp_path / "now", entries, as_before=False), database)
    before = export(tmp_path / "before", entries, as_before=True)
    command = [sys.executable, "-m", "tests.upgrade.later_release", str(before), str(another)]
    told = await anyio.to_thread.run_sync(
        lambda: subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    )
    assert told.returncode == 0, told.stderr.decode()
    later = msgspec.json.decode(told.stdout)
    assert set(later["phases"].values()) == {"swapped"}
    assert later["redecided"]["sound"]
    assert all(later["tables"].values())
    assert any(type_ == TYPE for _, type_, _ in later["seen"])
    for part, found in now.items():
        assert later[part] == found, part
