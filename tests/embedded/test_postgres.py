import asyncio
import os
from pathlib import Path

import asyncpg
import pytest

from mulligan.config import Dsn
from mulligan.embedded.postgres import EmbeddedPostgres
from mulligan.embedded.process import StartFailed
from tests.embedded.processes import alive, descendants


async def fetch(dsn: Dsn, query: str) -> list[object]:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return [row[0] for row in await connection.fetch(query, timeout=10)]
    finally:
        await connection.close(timeout=10)


async def test_a_database_is_empty_and_the_test_s_own(database: Dsn) -> None:
    assert (
        await fetch(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []
    )
    assert await fetch(database, "SHOW fsync") == ["on"]
    assert await fetch(database, "SHOW listen_addresses") == [""]


async def test_committed_data_outlives_a_kill_and_a_stale_lock_file(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "pg", databases=("kept",))
    await asyncio.to_thread(postgres.command)
    postgres.start()
    try:
        dsn, pid = postgres.dsn("kept"), postgres.pid
        assert pid is not None
        await fetch(dsn, "CREATE TABLE t AS SELECT generate_series(1, 1000)")
        below = descendants(pid)
        postgres.kill()
        assert not [child for child in below if alive(child)]
        lock = postgres.data_dir / "postmaster.pid"
        assert lock.exists()
        # The id in it may belong to another program by now, such as this one.
        lock.write_text(lock.read_text().replace(str(pid), str(os.getpid()), 1))
        postgres.start()
        assert postgres.dsn("kept") == dsn
        assert await fetch(dsn, "SELECT count(*) FROM t") == [1000]
    finally:
        postgres.stop()
    assert postgres.pid is None


async def test_a_path_too_long_for_a_socket_gets_a_short_one(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / ("deep" * 25) / "pg")
    assert len(str(postgres.socket_dir)) < 80
    postgres.start()
    try:
        assert await fetch(postgres.dsn(), "SELECT 1") == [1]
        assert postgres.socket_dir.stat().st_mode & 0o777 == 0o700
    finally:
        postgres.stop()
    assert not postgres.socket_dir.exists()


def test_a_folder_in_use_is_refused(postgres_server: EmbeddedPostgres) -> None:
    with pytest.raises(StartFailed, match=f"process {postgres_server.pid}.* already"):
        EmbeddedPostgres(postgres_server.data_dir).start()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg" / "thesis.tex").write_text("x")
    with pytest.raises(StartFailed, match="holds something else"):
        EmbeddedPostgres(tmp_path / "pg").start()


def test_a_bad_database_name_is_refused(postgres_server: EmbeddedPostgres) -> None:
    with pytest.raises(ValueError, match="no database name"):
        postgres_server.create_database('x"; DROP DATABASE postgres')


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can close a folder to the server's user")
def test_as_root_it_runs_below_a_folder_closed_to_its_own_user(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    postgres = EmbeddedPostgres(closed / "pg")
    postgres.start()
    try:
        assert postgres.create_database("made").endswith(f"?host={postgres.data_dir}")
        assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        postgres.stop()
