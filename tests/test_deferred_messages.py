"""Generated messages become dataclasses when they are used, and are none the worse for it."""

import dataclasses
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import betterproto2
import pytest

from mulligan.proto import v1
from mulligan.proto._generated.google.protobuf import Timestamp
from mulligan.proto._generated.mulligan import v1 as generated
from mulligan.proto.deferred import dataclass, finished
from mulligan.proto.quick import number_bytes, parse, write
from tests.cli.test_every_verb import filled


def test_the_library_of_messages_fits_the_compiler_that_wrote_ours() -> None:
    from betterproto2._version import check_compiler_version  # the real one

    check_compiler_version(generated._COMPILER_VERSION)


def fresh() -> type:
    @dataclass(eq=False, repr=False)
    class Thing:
        name: str = "x"

    return Thing


def test_the_first_instance_makes_a_dataclass_of_it() -> None:
    thing = fresh()
    assert thing("y").name == "y"
    assert thing().name == "x"


def test_asking_for_the_fields_makes_a_dataclass_of_it() -> None:
    thing = fresh()
    assert dataclasses.is_dataclass(thing)
    assert [field.name for field in dataclasses.fields(thing)] == ["name"]
    assert finished(thing) is thing


def test_to_import_the_messages_finishes_none_of_them() -> None:
    code = (
        "from mulligan.proto import v1\n"
        "kinds = [one for one in vars(v1).values() if isinstance(one, type)]\n"
        "done = [one for one in kinds if '_type_hints' in vars(one)]\n"
        "print(len(kinds) > 200, len(done))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "0"]


MANY_AT_ONCE = """
import sys
from threading import Barrier, Thread
import betterproto2
from mulligan.proto import v1

sys.setswitchinterval(1e-6)
kinds = [one for one in vars(v1).values() if isinstance(one, type)]
kinds = [one for one in kinds if issubclass(one, betterproto2.Message)][::5]
together, wrong = Barrier(6), []

def use(mine):
    for kind in kinds:
        together.wait(20)
        try:
            if mine % 3 == 0:
                assert bytes(kind()) == b""
            elif mine % 3 == 1:
                assert kind.parse(b"") == kind()
            else:
                assert set(kind.__dataclass_fields__) <= set(vars(kind()))
        except Exception as error:
            wrong.append((kind, error))

threads = [Thread(target=use, args=(n,)) for n in range(6)]
for one in threads: one.start()
for one in threads: one.join()
print(len(kinds) > 40, wrong)
"""


def test_many_threads_may_use_messages_for_the_first_time_at_once() -> None:
    command = [sys.executable, "-c", MANY_AT_ONCE]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == ["True", "[]"], run.stdout + run.stderr


def test_a_message_survives_a_round_trip_with_what_it_holds() -> None:
    page = v1.ListMachinesResponse(machines=[v1.Machine(name="m", state=v1.MachineState.FAILED)])
    assert v1.ListMachinesResponse.parse(bytes(page)) == page


def outcome(read: Callable[[bytes], Any], data: bytes) -> object:
    try:
        return vars(read(data))
    except Exception as error:
        return type(error).__name__


def test_messages_are_read_as_betterproto2_reads_them_whole_and_broken() -> None:
    dice = random.Random(20270131)
    slowly = vars(betterproto2.Message)["parse"].__func__
    for kind in vars(v1).values():
        if not (isinstance(kind, type) and issubclass(kind, betterproto2.Message)):
            continue
        whole = bytes(filled(kind))
        for _ in range(3):
            data = bytearray(whole)
            for _ in range(dice.randrange(3) if data else 0):
                data[dice.randrange(len(data))] = dice.randrange(256)
            broken = bytes(data[: dice.randrange(len(data) + 1)])
            for one in (whole, broken):
                expected = outcome(partial(slowly, kind), one)
                assert outcome(partial(parse, kind), one) == expected, (kind, one)


def messages() -> list[type[betterproto2.Message]]:
    kinds = [one for one in vars(v1).values() if isinstance(one, type)]
    return [one for one in kinds if issubclass(one, betterproto2.Message)]


def test_messages_are_written_as_betterproto2_writes_them() -> None:
    slowly = betterproto2.Message.__bytes__
    for kind in messages():
        for one in (kind(), filled(kind), kind.parse(bytes(filled(kind)) + b"\xf8\x7f\x01")):
            assert write(one) == slowly(one), kind


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**31, 2**64 - 1, -1, -(2**63), True])
def test_numbers_are_written_as_betterproto2_writes_them(number: int) -> None:
    assert number_bytes(number) == betterproto2.encode_varint(number)
    message = v1.Position(region="e", seq=number)
    assert write(message) == betterproto2.Message.__bytes__(message)


TIMES = [(0, 0), (1, 0), (0, 999), (0, 1000), (1798790400, 5000), (-1, 999_999_000), (2**40, 1)]


@pytest.mark.parametrize(("seconds", "nanos"), TIMES)
def test_times_are_read_and_written_as_betterproto2_does(seconds: int, nanos: int) -> None:
    inner = bytes(Timestamp(seconds, nanos))
    data = b"\x6a" + bytes([len(inner)]) + inner  # created_at
    slowly = vars(betterproto2.Message)["parse"].__func__
    assert outcome(partial(parse, v1.Machine), data) == outcome(partial(slowly, v1.Machine), data)
    if seconds < 2**39:
        machine = parse(v1.Machine, data)
        assert write(machine) == betterproto2.Message.__bytes__(machine)


def test_a_time_of_no_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone aware"):
        bytes(v1.Machine(created_at=datetime(2027, 1, 31)))  # noqa: DTZ001


def test_a_number_beyond_64_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="varint"):
        bytes(v1.Position(seq=-(2**63) - 1))
