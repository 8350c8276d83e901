"""Generated messages become dataclasses when they are used, and are none the worse for it."""

import dataclasses
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import betterproto2

from mulligan.proto import v1
from mulligan.proto.deferred import dataclass, finished
from mulligan.proto.quick import parse
from tests.cli.test_every_verb import filled


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
