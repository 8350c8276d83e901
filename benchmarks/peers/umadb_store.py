"""UmaDB by its own wheel, which holds both the server and a client.

A commit is one event tagged with its stream, appended on condition that no event has that tag.
The client blocks, so each command in flight is a thread; all share one connection.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks._appending import Timed, in_threads, new_commit
from mulligan.embedded.ports import free_ports
from mulligan.events.codec import encode_commit
from mulligan.events.envelope import Commit

_READY_S = 15.0


@contextmanager
def serving() -> Iterator[str]:
    """Run the server on a folder of its own; yield its URL."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="umadb-") as folder:
        program = Path(sys.executable).with_name("umadb")
        command = [str(program), f"--listen=127.0.0.1:{port}", f"--db-path={folder}"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}"
            _await_answer(url)
            yield url
        finally:
            server.terminate()
            server.wait()


def _await_answer(url: str) -> None:
    import umadb

    until = time.monotonic() + _READY_S
    while True:
        try:
            umadb.Client(url).head()
        except umadb.TransportError as error:
            if time.monotonic() > until:
                raise SystemExit(f"UmaDB did not start: {error}") from error
            time.sleep(0.05)
        else:
            return


def append(url: str, at_once: int, count: int) -> Timed:
    """Append commits, so many at once, each on condition that its stream is new."""
    import umadb

    commits = [new_commit() for _ in range(count)]
    client = umadb.Client(url)

    def command() -> None:
        commit = commits.pop()
        tags = [commit.events[0].stream]
        event = umadb.Event(commit.command, encode_commit(commit), tags)
        new = umadb.AppendCondition(umadb.Query([umadb.QueryItem(tags=tags)]))
        client.append([event], new)

    return in_threads(command, at_once, count)


def read(url: str) -> tuple[int, float]:
    """Read every event in order and decode it; return how many, and the seconds."""
    import umadb

    decode = msgspec.json.Decoder(Commit).decode
    began, found = time.perf_counter(), 0
    client = umadb.Client(url)  # an answer ends with its client
    answer = client.read()
    while batch := answer.next_batch():
        for one in batch:
            decode(one.event.data)
        found += len(batch)
    return found, time.perf_counter() - began
