"""The blocking client: from many threads, interrupted, forgotten, forked, and at an end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import anyio.to_thread
import pytest
from grpclib.events import RecvRequest, listen

from mulligan import tracing
from mulligan.client.sync import Client
from mulligan.errors import FailedPrecondition, NotFound
from mulligan.proto import sync as generator
from mulligan.proto import v1
from tests.client.fakes import REGION, SECRET, Cluster, FakeRegion

Result = TypeVar("Result")
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def in_thread(work: Callable[[], Result]) -> Result:
    return await anyio.to_thread.run_sync(work)


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    client = await in_thread(lambda: Client(cluster.context(), secret=SECRET, patience=5))
    yield client
    await in_thread(client.close)


def watched(count: int) -> list[v1.LogRecord]:
    return [
        v1.LogRecord(position=v1.Position(region=REGION, seq=seq), commit=str(seq))
        for seq in range(1, count + 1)
    ]


def test_the_blocking_stubs_are_what_the_protos_say() -> None:
    assert generator.main(["--check"]) == 0


async def test_calls_block_and_return_what_the_services_answer(client: Client) -> None:
    request = v1.EnrollMachineRequest(name="node-1")
    answer = await in_thread(lambda: client.control.enroll_machine(request))
    assert answer.machine is not None and answer.machine.uuid == "m-1"
    assert (client.region, client.positions) == (REGION, {REGION: 1})


async def test_errors_are_those_of_the_async_client(client: Client) -> None:
    with pytest.raises(NotFound):
        await in_thread(lambda: client.control.get_machine(v1.GetMachineRequest(machine="x")))


async def test_many_threads_use_one_client(client: Client, region: FakeRegion) -> None:
    def enrol(number: int) -> None:
        client.control.enroll_machine(v1.EnrollMachineRequest(name=f"node-{number}"))

    def work() -> None:
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(enrol, range(200)))

    before = threading.active_count()
    await in_thread(work)
    assert len(region.machines) == 200
    assert region.logins == 1
    assert threading.active_count() <= before + 1, "one thread works for all of them"


async def test_a_stream_is_an_iterator(client: Client, region: FakeRegion) -> None:
    region.records = watched(200)

    def first() -> list[str]:
        with client.log.watch_log(v1.WatchLogRequest()) as records:
            return [next(records).commit for _ in range(150)]

    assert await in_thread(first) == [str(number) for number in range(1, 151)]


async def test_machines_come_one_after_the_other(client: Client, region: FakeRegion) -> None:
    region.machines = {"a": v1.Machine(name="a"), "b": v1.Machine(name="b")}
    assert await in_thread(lambda: [one.name for one in client.machines()]) == ["a", "b"]


async def test_an_async_function_can_be_run_with_it(client: Client) -> None:
    async def names(client: object) -> str:
        return type(client).__name__

    assert await in_thread(lambda: client.run(names)) == "Client"


async def test_regions_are_asked_in_threads(client: Client) -> None:
    def who(client: Client) -> str:
        return client.iam.who_am_i(v1.WhoAmIRequest()).account_name

    (only,) = await in_thread(client.regions.list)
    (outcome,) = await in_thread(lambda: client.regions.each([only.name], who))
    assert outcome.value == "ada"


async def test_a_call_inside_its_own_loop_is_refused_not_hung(client: Client) -> None:
    async def wrong(_: object) -> None:
        client.endpoints()

    with pytest.raises(FailedPrecondition, match="would wait for itself"):
        await in_thread(lambda: client.run(wrong))


PROGRAM = """
import os, sys
from mulligan.client import Context
from mulligan.client.sync import Client
from mulligan.proto import v1
address, ca, secret = sys.argv[1:]
client = Client(Context(address=(address,), ca=ca, account="ada"), secret=secret)
print(client.iam.who_am_i(v1.WhoAmIRequest()).account_name, flush=True)
"""


def program(cluster: Cluster, more: str) -> "subprocess.Popen[str]":
    context = cluster.context()
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + more, context.address[0], context.ca, SECRET],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


async def test_a_program_that_closes_nothing_ends_without_a_word(cluster: Cluster) -> None:
    more = "stream = client.catalog.watch_endpoints(); next(stream)\n"
    running = program(cluster, more)
    out, err = await in_thread(lambda: running.communicate(timeout=30))
    assert (out, err, running.returncode) == ("ada\n", "", 0)


async def test_ctrl_c_ends_a_call_that_waits(cluster: Cluster) -> None:
    slow = """
print("waits", flush=True)
for record in client.log.watch_log(v1.WatchLogRequest()): pass
"""
    running = program(cluster, slow)
    assert running.stdout is not None
    for expected in ("ada\n", "waits\n"):
        assert await in_thread(running.stdout.readline) == expected
    began = time.monotonic()
    os.kill(running.pid, signal.SIGINT)
    _, err = await in_thread(lambda: running.communicate(timeout=30))
    assert "KeyboardInterrupt" in err
    assert time.monotonic() - began < 10


async def test_a_forked_child_has_a_loop_of_its_own(cluster: Cluster) -> None:
    more = """
if os.fork() == 0:
    own = Client(client.context, secret=secret)
    print(own.iam.who_am_i(v1.WhoAmIRequest()).account_name, flush=True)
else:
    os.wait()
"""
    running = program(cluster, more)
    out, err = await in_thread(lambda: running.communicate(timeout=30))
    assert (out, running.returncode) == ("ada\nada\n", 0), err


async def test_a_forked_child_is_told_not_to_use_its_parents_client(cluster: Cluster) -> None:
    more = """
stream = client.catalog.watch_endpoints()
next(stream)
if os.fork() == 0:
    try:
        client.iam.who_am_i(v1.WhoAmIRequest())
    except Exception as error:
        print(type(error).__name__, error.message, flush=True)
    stream.close()
    client.close()
else:
    os.wait()
    print(client.iam.who_am_i(v1.WhoAmIRequest()).account_name)
"""
    running = program(cluster, more)
    out, err = await in_thread(lambda: running.communicate(timeout=30))
    told = (
        "FailedPrecondition this client was made before the process was forked: "
        "make another one in the child"
    )
    assert (out, err) == (f"ada\n{told}\nada\n", "")


async def test_a_client_that_is_closed_says_so(client: Client) -> None:
    await in_thread(client.endpoints)
    await in_thread(client.close)
    with pytest.raises(FailedPrecondition, match="the client is closed"):
        await in_thread(lambda: client.iam.who_am_i(v1.WhoAmIRequest()))
    await in_thread(client.close)


async def test_a_call_is_part_of_the_trace_of_its_thread(client: Client, cluster: Cluster) -> None:
    heard: list[str] = []

    async def note(event: RecvRequest) -> None:
        heard.append(str(event.metadata.get(tracing.HEADER, "")))

    await in_thread(client.endpoints)
    listen(cluster.instances[0].server, RecvRequest, note)

    def call() -> None:
        with tracing.following(PARENT):
            client.iam.who_am_i(v1.WhoAmIRequest())
        client.iam.who_am_i(v1.WhoAmIRequest())

    await in_thread(call)
    assert [one for one in heard if one] == [PARENT, PARENT]
