import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from mulligan.config import load
from mulligan.embedded.region import embedded_etcd, embedded_postgres
from mulligan.embedded.supervisor import Child, Supervisor
from tests.embedded import process_tree
from tests.embedded.processes import alive, descendants, eventually

Tree = subprocess.Popen[str]
StartTree = Callable[..., Tree]


@pytest.fixture
def start_tree(tmp_path: Path) -> Iterator[StartTree]:
    """Start the program of ``process_tree``; at the end it is killed, should it still run."""
    trees: list[Tree] = []

    def start(*options: str) -> Tree:
        command = [sys.executable, str(Path(process_tree.__file__)), str(tmp_path), *options]
        tree = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        trees.append(tree)
        return tree

    yield start
    for tree in trees:
        tree.kill()
        tree.communicate()


def pid_of(name: str, state_dir: Path) -> int | None:
    try:
        return int((state_dir / "run" / f"{name}.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None


def started_again(name: str, first: int, state_dir: Path) -> bool:
    return pid_of(name, state_dir) not in {first, None}


def serves(name: str, state_dir: Path) -> bool:
    log = state_dir / "logs" / f"{name}.log"
    return pid_of(name, state_dir) is not None and log.exists() and "serving" in log.read_text()


def test_a_killed_child_is_started_again_and_the_reason_is_said(
    start_tree: StartTree, tmp_path: Path
) -> None:
    tree = start_tree()
    eventually(lambda: serves("steady", tmp_path))
    first = pid_of("steady", tmp_path)
    assert first
    os.kill(first, signal.SIGKILL)
    eventually(lambda: started_again("steady", first, tmp_path))
    tree.terminate()
    _, said = tree.communicate(timeout=15)
    assert said.startswith("steady was killed by SIGKILL after")
    assert "it starts again in 0.1 s" in said


def test_why_a_child_ends_is_said_in_a_line_and_not_each_time(
    start_tree: StartTree, tmp_path: Path
) -> None:
    tree = start_tree("fail")
    log = tmp_path / "logs" / "failing.log"
    eventually(lambda: log.exists() and log.read_text().count("error: ") == 4)
    tree.terminate()
    _, said = tree.communicate(timeout=15)
    assert log.read_text() == "error: there is no key; bring it back\n" * 4
    told = [line for line in said.splitlines() if line.startswith("failing")]
    assert len(told) <= 3
    assert told[0].startswith("failing exited with code 1 after 0.")
    assert ": there is no key; bring it back; it starts again in 0.1 s; see " in told[0]


def test_a_disk_that_takes_no_file_ends_nothing(start_tree: StartTree, tmp_path: Path) -> None:
    tree = start_tree()
    eventually(lambda: serves("steady", tmp_path))
    first = pid_of("steady", tmp_path)
    assert first
    file = tmp_path / "run" / "steady.pid"
    file.unlink()
    file.mkdir()  # as root nothing else keeps a file from being written
    os.kill(first, signal.SIGKILL)
    log = tmp_path / "logs" / "steady.log"
    eventually(lambda: log.read_text().count("serving") == 2)
    file.rmdir()
    tree.terminate()
    _, said = tree.communicate(timeout=15)
    assert tree.returncode == 0
    assert "the process id of steady is not written: Is a directory" in said


def test_children_bear_their_names_and_share_nothing_but_the_parent(
    start_tree: StartTree, tmp_path: Path
) -> None:
    tree = start_tree()
    eventually(lambda: serves("steady", tmp_path))
    pid = pid_of("steady", tmp_path)
    assert Path(f"/proc/{pid}/cmdline").read_text().strip("\0").startswith("mulligan: steady")
    assert os.getsid(pid or 0) == pid
    assert tree.poll() is None


def test_sigterm_stops_all_even_a_child_that_ignores_it_and_what_that_had_started(
    start_tree: StartTree, tmp_path: Path
) -> None:
    tree = start_tree()
    eventually(lambda: serves("steady", tmp_path) and len(descendants(tree.pid)) == 3)
    below = descendants(tree.pid)
    began = time.monotonic()
    tree.terminate()
    _, said = tree.communicate(timeout=15)
    assert time.monotonic() - began < 5
    assert tree.returncode == 0
    assert said == "stubborn did not stop in time and is killed\n"
    assert not [pid for pid in below if alive(pid)]
    assert not list((tmp_path / "run").iterdir())


def test_a_second_signal_hastens_the_end(start_tree: StartTree, tmp_path: Path) -> None:
    tree = start_tree()
    eventually(lambda: serves("steady", tmp_path))
    steady = pid_of("steady", tmp_path)
    assert steady
    began = time.monotonic()
    tree.send_signal(signal.SIGINT)
    eventually(lambda: not alive(steady))
    tree.send_signal(signal.SIGINT)
    tree.communicate(timeout=15)
    assert time.monotonic() - began < 1.5


def test_the_end_of_the_leading_child_ends_all_with_its_exit_code(start_tree: StartTree) -> None:
    tree = start_tree("finish")
    tree.communicate(timeout=15)
    assert tree.returncode == 7


def test_two_supervisors_never_share_a_folder(start_tree: StartTree, tmp_path: Path) -> None:
    first = start_tree()
    eventually(lambda: serves("steady", tmp_path))
    second = start_tree()
    _, said = second.communicate(timeout=15)
    assert f"process {first.pid} runs on {tmp_path} already" in said
    assert first.poll() is None


def test_threads_in_the_parent_are_refused(tmp_path: Path) -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="threads run in the supervisor"):
            Supervisor([Child(name="never", run=lambda: 0)], tmp_path).run()
    finally:
        over.set()
        thread.join()


def test_servers_run_in_the_tree_come_back_when_killed_and_stop_with_it(
    start_tree: StartTree, tmp_path: Path
) -> None:
    tree = start_tree("servers")
    eventually(lambda: serves("steady", tmp_path))
    config = load(tmp_path / "config.toml", {})
    etcd, postgres = embedded_etcd(config), embedded_postgres(config)
    eventually(etcd.healthy)
    eventually(postgres.ready)
    database = postgres.create_database("kept")
    assert config.postgres.dsn == database.replace("/kept?", "/mulligan?")
    for name in ("etcd", "postgres"):
        first = pid_of(name, tmp_path)
        assert first
        os.kill(first, signal.SIGKILL)
        eventually(partial(started_again, name, first, tmp_path))
    eventually(etcd.healthy)
    eventually(lambda: lock(postgres.data_dir).startswith(f"{pid_of('postgres', tmp_path)}\n"))
    eventually(postgres.ready)
    below = descendants(tree.pid)
    began = time.monotonic()
    tree.terminate()
    tree.communicate(timeout=15)
    assert time.monotonic() - began < 5
    assert not [pid for pid in below if alive(pid)]


def lock(data_dir: Path) -> str:
    try:
        return (data_dir / "postmaster.pid").read_text()
    except FileNotFoundError:
        return ""


def test_nothing_outlives_a_parent_that_is_killed(start_tree: StartTree, tmp_path: Path) -> None:
    tree = start_tree("servers")
    eventually(lambda: serves("steady", tmp_path))
    config = load(tmp_path / "config.toml", {})
    eventually(embedded_etcd(config).healthy)
    eventually(embedded_postgres(config).ready)
    below = descendants(tree.pid)
    assert len(below) >= 5
    tree.kill()
    eventually(lambda: not [pid for pid in below if alive(pid)], within=10)
