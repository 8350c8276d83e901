"""What a commit keeps of its command beside the events, and the command made of both again."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from mulligan.events.codec import Codec, decode_entry
from mulligan.handlers import operations
from mulligan.handlers.arguments import NOTHING, Unrecalled, arguments, recall
from mulligan.handlers.claim import MakeClaim
from mulligan.handlers.command_names import COMMANDS
from mulligan.handlers.decision import Change, Command
from mulligan.handlers.image import CreateImage
from mulligan.handlers.kinds import KINDS
from mulligan.handlers.observations import ObservePower
from mulligan.handlers.region import CreateRegion
from mulligan.handlers.upkeep import CordonMachine
from mulligan.model import CommitId, ImageId, MachineId, StreamId, stream_kind
from tests.events.strategies import of_struct
from tests.events.test_recorded_log import LINES

from .given import C1, HOUR, M1, MACHINE, NOON, Given, claim_of


class Keeping(Given):
    """Keeps of every command what its commit would, and makes the command of that again."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, list[Any]] = {}

    def decide(self, command: Command) -> list[Change]:
        """Return the changes, having seen that they and what is kept make the command again."""
        changes = super().decide(command)
        args = arguments(command, changes, self.states, self.now)
        assert recall(type(command), args, changes, self.states, self.now) == command
        self.kept.setdefault(command.NAME, []).append(msgspec.json.decode(args))
        return changes

    def keeps(self, command: Command) -> Any:
        """Do a command, and return what is kept of it."""
        self.do(command)
        return self.kept[command.NAME][-1]


def subclasses(of: type[Command]) -> set[type[Command]]:
    """Every command class of the product."""
    found = {one for one in of.__subclasses__() if one.__module__.startswith("mulligan.")}
    return found.union(*map(subclasses, found))


def test_every_command_is_found_by_its_name() -> None:
    assert set(COMMANDS.values()) == subclasses(Command)
    assert all(name == cls.NAME for name, cls in COMMANDS.items())


@drawn(st.sampled_from(sorted(COMMANDS)).flatmap(lambda name: of_struct(COMMANDS[name])))
def test_any_command_survives_being_kept(command: Any) -> None:
    args = msgspec.Raw(bytes(arguments(command, [], {}, NOON)))
    assert recall(type(command), args, [], {}, NOON) == command


def test_nothing_is_kept_of_steps_which_are_most_of_a_log() -> None:
    given = Keeping()
    given.available()
    given.claimed(M1)
    given.do(operations.PowerMachine(machine=MachineId(M1), target="on", operation=CommitId("o")))
    given.finish()
    for name in ("request_action", "attempt_step", "observe_step", "complete_operation"):
        kept = given.kept[f"machine.{name}"]
        assert kept == [{}] * len(kept), name


def test_only_what_the_events_do_not_tell_is_kept() -> None:
    given = Keeping()
    image = CreateImage(image=ImageId("x"), name="x", url="file:os.iso", sha256="0" * 64)
    assert given.keeps(image).keys() <= {"kind"}
    machine = given.available()
    assert given.keeps(ObservePower(machine=machine, power="on")) == {}


def test_a_claim_for_now_is_told_from_one_that_names_the_time() -> None:
    given = Keeping()
    given.offers("p", {"machine": 9}, turnaround=timedelta(minutes=5))
    now = claim_of({"p": {MACHINE: 1}}, claim=C1, end=NOON + HOUR)
    named = claim_of({"p": {MACHINE: 1}}, claim="c2", start=NOON, end=NOON + HOUR)
    late = claim_of({"p": {MACHINE: 1}}, claim="c3", start=NOON - timedelta(seconds=5))
    assert given.keeps(now) == {}
    assert given.keeps(named) == {"start": "2026-01-01T12:00:00Z"}
    assert given.keeps(late) == {"start": "2026-01-01T11:59:55Z"}


def test_arguments_that_this_version_does_not_have_are_refused() -> None:
    with pytest.raises(Unrecalled, match="no argument 'colour'"):
        recall(CreateRegion, b'{"colour":"red"}', [], {}, NOON)
    with pytest.raises(Unrecalled, match=r"machine\.cordon"):
        recall(CordonMachine, b'{"reason":7}', [], {}, NOON)
    with pytest.raises(Unrecalled, match=r"region\.create.*region"):
        recall(CreateRegion, NOTHING, [], {}, NOON)


def recorded() -> Iterator[Command]:
    """The commands that the recorded log has arguments of."""
    codec = Codec()
    states: dict[StreamId, Any] = {}
    for line in LINES:
        for commit in decode_entry(line).commits:
            changes = [Change(r.stream, codec.event(r)) for r in commit.events]
            if commit.args:
                yield recall(COMMANDS[commit.command], commit.args, changes, states, commit.at)
            for stream, event in changes:
                evolve = KINDS[stream_kind(stream)].evolve
                states[stream] = evolve(states.get(stream), event, commit.at)


def test_recorded_arguments_make_the_commands_that_they_were_kept_of() -> None:
    image, claim = recorded()
    assert isinstance(image, CreateImage)
    assert (image.name, image.kind, image.firmware) == ("recorded", "iso", "uefi")
    assert isinstance(claim, MakeClaim)
    assert claim.start is None
    assert claim.end == datetime(2026, 1, 2, tzinfo=UTC)
    assert claim.allocations[0].turnaround == 0
