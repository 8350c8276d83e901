"""The ``eventsourcing`` library's recorder on the Postgres that Mulligan embeds.

A commit is one stored event, version 1 of an originator of its own: the primary key is what
refuses a second writer. Its recorder blocks, so each command in flight is a thread. More
connections than these make it no faster, for it locks its table for each insert.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from benchmarks._appending import Timed, in_threads, new_commit
from mulligan.embedded.postgres import SUPERUSER, EmbeddedPostgres
from mulligan.events.codec import encode_commit
from mulligan.events.envelope import Commit
from mulligan.model import stream_key

_CONNECTIONS = 16
_PAGE = 1_000
_DATABASE = "events"


@contextmanager
def serving() -> Iterator[str]:
    """Run Postgres with its settings as ``mulligan up`` has them; yield its socket's folder."""
    with tempfile.TemporaryDirectory(prefix="mlg-") as folder:
        home = Path(folder)
        home.chmod(0o711)  # as root, Postgres runs as another user, who must pass through
        postgres = EmbeddedPostgres(home / "pg", databases=(_DATABASE,))
        postgres.start()
        try:
            yield str(postgres.socket_dir)
        finally:
            postgres.stop()


@contextmanager
def _recorder(host: str, connections: int, waiting: int) -> Iterator[Any]:
    from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

    with PostgresDatastore(
        _DATABASE,
        host,
        5432,
        SUPERUSER,
        "",
        pool_size=connections,
        max_waiting=waiting,
        connect_timeout=60.0,
    ) as datastore:
        recorder = PostgresApplicationRecorder(datastore)
        recorder.create_table()
        yield recorder


def append(host: str, at_once: int, count: int) -> Timed:
    """Insert commits, so many at once, each as the first version of its originator."""
    from eventsourcing.persistence import StoredEvent

    commits = [new_commit() for _ in range(count)]
    with _recorder(host, min(at_once, _CONNECTIONS), at_once) as recorder:

        def command() -> None:
            commit = commits.pop()
            originator = UUID(stream_key(commit.events[0].stream))
            state = encode_commit(commit)
            recorder.insert_events([StoredEvent(originator, 1, commit.command, state)])

        return in_threads(command, at_once, count)


def read(host: str) -> tuple[int, float]:
    """Read every notification in order and decode it; return how many, and the seconds."""
    decode = msgspec.json.Decoder(Commit).decode
    with _recorder(host, 1, 1) as recorder:
        began, found, last = time.perf_counter(), 0, 0
        while page := recorder.select_notifications(last + 1, _PAGE):
            for notification in page:
                decode(notification.state)
            found, last = found + len(page), page[-1].id
        return found, time.perf_counter() - began
