"""Decisions made again from a log: the same by the same handlers, and caught when they are not."""

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from mulligan.commands.findings import Findings
from mulligan.commands.redeciding import Redeciding
from mulligan.errors import FailedPrecondition
from mulligan.events.claim import ClaimMade
from mulligan.events.codec import EVENT_TYPES, Codec
from mulligan.handlers.claim import MakeClaim
from mulligan.handlers.command_names import COMMANDS
from mulligan.handlers.decision import Change, Command, States
from mulligan.handlers.kinds import KINDS
from mulligan.log.protocol import Stored
from mulligan.log.view import link
from mulligan.model import Seq
from tests.events.test_recorded_log import LINES
from tests.log.proof import export
from tests.projections.histories import World, history, poison

STEPS = 150
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world() -> World:
    """A history with claims in it."""
    return history(7, STEPS)


def found(entries: Sequence[Stored], deciding: Redeciding | None = None) -> Findings:
    """Decide entries again."""
    deciding = deciding or Redeciding()
    deciding.take(entries)
    return deciding.findings()


def with_command(name: str, cls: type[Command]) -> Redeciding:
    """Decide with another class of one name."""
    return Redeciding(commands={**COMMANDS, name: cls})


def claims_in(world: World) -> int:
    """How many claims were made."""
    return sum(c.command == "claim.make" for e in world.entries for c in e.entry.commits)


def made_in(world: World) -> int:
    """How many claims there are, those of adoptions too."""
    return sum(stream.startswith("claim/") for stream in world.states)


@pytest.mark.parametrize("seed", range(4))
def test_the_same_handlers_decide_the_same(seed: int) -> None:
    entries = history(seed, STEPS).entries
    findings = found(entries)
    assert findings.sound, findings.differing
    assert findings.same == findings.commits == sum(len(e.entry.commits) for e in entries)
    assert findings.without == findings.rest == findings.rewritten == 0


def test_nothing_depends_on_the_order_of_sets_in_one_process(tmp_path: Path) -> None:
    entries = [stored.value for stored in history(3, STEPS).entries]
    file = export(tmp_path / "log", entries)
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "mulligan.cli.main", "replay", "--check", "--from", file],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


class OtherNotice(MakeClaim, frozen=True, kw_only=True):
    """Gives notice a minute later than was asked."""

    def decide(self, states: States, now: datetime) -> list[Change]:
        made, *rest = super().decide(states, now)
        assert isinstance(made.event, ClaimMade)
        later = msgspec.structs.replace(made.event, ending_notice=made.event.ending_notice + 60)
        return [Change(made.stream, later), *rest]


def test_a_field_that_would_differ_is_told(world: World) -> None:
    findings = found(world.entries, with_command("claim.make", OtherNotice))
    assert not findings.sound
    assert findings.differ == claims_in(world) > 0
    assert findings.same == findings.commits - findings.differ
    first = findings.differing[0]
    assert (first.kind, first.command) == ("events", "claim.make")
    (event,) = first.events
    assert event.type == "claim.made"
    assert [(f.path, f.before, f.after) for f in event.fields] == [
        ("ending_notice", "3600", "3660")
    ]
    (tally,) = [one for one in findings.commands if one.command == "claim.make"]
    assert (tally.commits, tally.differ, tally.same) == (findings.differ, findings.differ, 0)


class Refusing(MakeClaim, frozen=True, kw_only=True):
    """Makes no claim any more."""

    def decide(self, states: States, now: datetime) -> list[Change]:
        raise FailedPrecondition("claims are closed")


class Idle(MakeClaim, frozen=True, kw_only=True):
    """Does nothing."""

    def decide(self, states: States, now: datetime) -> list[Change]:
        return []


class Broken(MakeClaim, frozen=True, kw_only=True):
    """Has a defect."""

    def decide(self, states: States, now: datetime) -> list[Change]:
        raise KeyError("gone")


class Terse(MakeClaim, frozen=True, kw_only=True):
    """Takes nothing of the providers."""

    def decide(self, states: States, now: datetime) -> list[Change]:
        return super().decide(states, now)[:1]


class Loud(MakeClaim, frozen=True, kw_only=True):
    """Says everything twice."""

    def decide(self, states: States, now: datetime) -> list[Change]:
        changes = super().decide(states, now)
        return [*changes, changes[-1]]


class Hurried(MakeClaim, frozen=True, kw_only=True):
    """Says first what comes last."""

    def decide(self, states: States, now: datetime) -> list[Change]:
        return super().decide(states, now)[::-1]


@pytest.mark.parametrize(
    ("cls", "kind", "detail"),
    [
        (Refusing, "refused", "FailedPrecondition: claims are closed"),
        (Idle, "nothing", ""),
        (Broken, "crashed", "KeyError: 'gone'"),
    ],
)
def test_a_decision_that_does_not_come_about_is_told(
    world: World, cls: type[Command], kind: str, detail: str
) -> None:
    findings = found(world.entries, with_command("claim.make", cls))
    assert findings.differ == claims_in(world)
    assert (findings.differing[0].kind, findings.differing[0].detail) == (kind, detail)


@pytest.mark.parametrize(
    ("cls", "what"),
    [
        (Terse, "would not be"),
        (Loud, "would be there too"),
        (Hurried, "would be "),
    ],
)
def test_events_too_few_too_many_or_out_of_order_are_told(
    world: World, cls: type[Command], what: str
) -> None:
    findings = found(world.entries, with_command("claim.make", cls))
    assert findings.differ == claims_in(world)
    assert what in findings.differing[0].events[-1].what


def test_a_command_that_is_gone_is_told(world: World) -> None:
    left = {name: cls for name, cls in COMMANDS.items() if name != "claim.make"}
    findings = found(world.entries, Redeciding(commands=left))
    assert findings.differ == claims_in(world)
    assert findings.differing[0].kind == "unknown"


class Renamed(Command, frozen=True, kw_only=True):
    """A claim whose arguments are called otherwise."""

    NAME = "claim.make"
    begins: datetime | None = None


def test_arguments_that_are_gone_are_told(world: World) -> None:
    findings = found(world.entries, with_command("claim.make", Renamed))
    assert findings.differing[0].kind == "arguments"
    assert findings.differing[0].detail == "claim.make has no argument 'start'"


def test_only_the_first_differences_are_kept_and_all_are_counted(world: World) -> None:
    deciding = Redeciding(commands={**COMMANDS, "claim.make": Idle}, report=2)
    findings = found(world.entries, deciding)
    assert findings.differ == claims_in(world) > 2
    assert [one.kind for one in findings.differing] == ["nothing", "nothing"]


class Rated(ClaimMade, frozen=True, kw_only=True):
    """A claim as a later version makes it."""

    rate: str = "usual"


class MakeRated(MakeClaim, frozen=True, kw_only=True):
    """Makes such claims."""

    def decide(self, states: States, now: datetime) -> list[Change]:
        made, *rest = super().decide(states, now)
        assert isinstance(made.event, ClaimMade)
        return [Change(made.stream, Rated(**msgspec.structs.asdict(made.event))), *rest]


def test_a_new_field_with_its_default_is_no_difference(world: World) -> None:
    codec = Codec(types={**EVENT_TYPES, Rated.TYPE: Rated})
    deciding = Redeciding(commands={**COMMANDS, "claim.make": MakeRated}, codec=codec)
    findings = found(world.entries, deciding)
    assert findings.sound
    assert findings.rewritten == claims_in(world)


def test_an_event_of_an_older_schema_is_compared_in_its_newest_form(world: World) -> None:
    codec = Codec(upcasters={("claim.made", 1): lambda data: data})
    findings = found(world.entries, Redeciding(codec=codec))
    assert findings.sound
    assert findings.rewritten == made_in(world)


def test_an_event_that_cannot_be_read_is_told_and_what_rests_on_it_left_out() -> None:
    world = history(1, 40)
    machine = next(s for s in world.states if s.startswith("machine/"))
    poison(world, machine)
    seq = world.entries[-1].seq
    findings = found(world.entries)
    assert not findings.sound
    (lost,) = findings.unfolded
    assert (lost.entry, lost.stream) == (seq, machine)
    assert "unknown event type" in lost.detail
    assert (findings.differ, findings.rest, findings.cannot_fold) == (0, 1, 1)


def test_a_state_that_does_not_fold_any_more_is_told(world: World) -> None:
    def evolve(state: object, event: object, at: datetime) -> object:
        raise ValueError("no such state")

    kinds = {**KINDS, "claim": KINDS["claim"]._replace(evolve=evolve)}
    findings = found(world.entries, Redeciding(kinds=kinds))
    assert findings.cannot_fold == made_in(world)
    assert "ValueError: no such state" in findings.unfolded[0].detail


def test_commits_before_the_first_that_is_asked_for_are_only_folded(world: World) -> None:
    half = Seq(len(world.entries) // 2)
    findings = found(world.entries, Redeciding(since=half))
    later = [stored for stored in world.entries if stored.seq >= half]
    assert findings.commits == findings.same == sum(len(s.entry.commits) for s in later)


def test_a_log_without_arguments_is_folded_and_not_decided_again() -> None:
    entries = [link(seq, None, line) for seq, line in enumerate(LINES, start=1)]
    findings = found(entries)
    assert findings.cannot_fold == 0
    assert findings.without == findings.commits - 2
    (refused,) = findings.differing  # the class it takes is none of the product's
    assert (findings.same, refused.kind, refused.command) == (1, "refused", "claim.make")
    assert "vcpu" in refused.detail


def test_commits_of_one_entry_see_each_other(world: World) -> None:
    together = World(5)
    together.pending = [c for stored in world.entries for c in stored.entry.commits]
    together.now = world.now
    together.flush()
    findings = found(together.entries)
    assert findings.entries == 1
    assert findings.same == findings.commits
    assert together.pending == []
