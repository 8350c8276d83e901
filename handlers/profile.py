"""Stream ``profile/region``: hardware profiles, which give deadlines and cleaning steps by make."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, NamedTuple, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import InvalidArgument, NotFound
from mulligan.events import profile as ev
from mulligan.events.machine import Facts, Verb
from mulligan.handlers import names, plans
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.handlers.image import Image
from mulligan.handlers.machine import Machine
from mulligan.handlers.plans import PROFILES
from mulligan.model import ImageId, StreamId, stream_id

__all__ = ["PROFILES", "HardwareProfile", "Profiles", "evolve", "profile_of"]

MAX_PROFILES = 200
MAX_DEADLINE = 7 * 24 * 3600


class HardwareProfile(msgspec.Struct, frozen=True, kw_only=True):
    """How machines of one make are treated; fields as in ``events.profile.ProfileSet``."""

    name: str
    manufacturer: str
    model: str
    deadlines: dict[str, int]
    clean: tuple[str, ...]
    wipe_image: ImageId

    def matches(self, facts: Facts) -> bool:
        """Whether hardware of these facts is of this make."""
        return _fits(facts.manufacturer, self.manufacturer) and _fits(facts.model, self.model)


def _fits(text: str, pattern: str) -> bool:
    """Whether the text is as the pattern, in which only ``*`` is special, whatever the case."""
    form = ".*".join(re.escape(part) for part in pattern.lower().split("*"))
    return re.fullmatch(form, text.lower(), re.DOTALL) is not None


class Profiles(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All profiles by name."""

    by_name: dict[str, HardwareProfile] = {}


def evolve(state: Profiles | None, event: ev.Event, at: datetime) -> Profiles:
    """Return the catalogue as it is after the event."""
    state = state or Profiles()
    match event:
        case ev.ProfileSet():
            profile = HardwareProfile(
                name=event.name,
                manufacturer=event.manufacturer,
                model=event.model,
                deadlines=event.deadlines,
                clean=event.clean,
                wipe_image=event.wipe_image,
            )
            return replace(state, by_name={**state.by_name, event.name: profile})
        case ev.ProfileDeleted():
            left = {name: p for name, p in state.by_name.items() if name != event.name}
            return replace(state, by_name=left)
        case _:
            assert_never(event)


def profile_of(states: States, machine: Machine) -> HardwareProfile | None:
    """Return the profile given to the machine, else the closest that its hardware matches.

    One that was given and is deleted since counts as none given.
    """
    known: Profiles = states.get(PROFILES) or Profiles()
    if machine.profile in known.by_name:
        return known.by_name[machine.profile]
    facts = machine.facts or Facts()
    fitting = [p for p in known.by_name.values() if p.matches(facts)]
    return max(fitting, key=_closeness, default=None)


def _closeness(profile: HardwareProfile) -> tuple[int, int, str]:
    """Order profiles: the more of the make a pattern spells out, the closer."""
    return (
        len(profile.manufacturer.replace("*", "")),
        len(profile.model.replace("*", "")),
        profile.name,
    )


class Terms(NamedTuple):
    """What the profile that a machine goes by means for an operation; ``profile`` is its name."""

    profile: str
    deadline: datetime
    clean: tuple[str, ...]
    wipe_image: ImageId


def terms_of(states: States, machine: Machine, verb: Verb, now: datetime) -> Terms:
    """Return on which terms an operation of the machine starts now."""
    by = profile_of(states, machine)
    if by is None:
        return Terms("", now + plans.DEADLINES[verb], (), ImageId(""))
    wipes = verb == "clean" and "wipe" in by.clean
    usual = plans.WIPE_DEADLINE if wipes else plans.DEADLINES[verb]
    given = by.deadlines.get(verb)
    span = usual if given is None else timedelta(seconds=given)
    return Terms(by.name, now + span, by.clean, by.wipe_image)


def check_assigned(states: States, name: str) -> None:
    """Raise NotFound unless there is such a profile; the empty name is none."""
    known: Profiles = states.get(PROFILES) or Profiles()
    if name and name not in known.by_name:
        raise NotFound("profile", name)


class SetProfile(Command, frozen=True, kw_only=True):
    """Define a hardware profile, or replace it."""

    NAME: ClassVar = "profile.set"
    name: str
    manufacturer: str = "*"
    model: str = "*"
    deadlines: Mapping[str, int] = {}
    clean: tuple[str, ...] = ()
    wipe_image: ImageId = ImageId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the catalogue and the wipe image."""
        return [PROFILES, *([stream_id("image", self.wipe_image)] if self.wipe_image else [])]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Set it, unless it is just so."""
        known: Profiles = states.get(PROFILES) or Profiles()
        self._check(states, known)
        event = ev.ProfileSet(
            name=self.name,
            manufacturer=self.manufacturer,
            model=self.model,
            deadlines=dict(self.deadlines),
            clean=self.clean,
            wipe_image=self.wipe_image,
        )
        after = evolve(known, event, now)
        return [] if after == known else [Change(PROFILES, event)]

    def _check(self, states: States, known: Profiles) -> None:
        if names.slug_of(self.name, "name") != self.name:
            raise InvalidArgument("name", "use lower-case letters, digits and dashes")
        if self.name not in known.by_name and len(known.by_name) >= MAX_PROFILES:
            raise InvalidArgument("name", f"there are {MAX_PROFILES} profiles already")
        for field, pattern in (("manufacturer", self.manufacturer), ("model", self.model)):
            if not 0 < len(pattern) <= 128:
                raise InvalidArgument(field, "give a pattern of 1 to 128 characters, * for all")
        for verb, seconds in self.deadlines.items():
            if verb not in plans.DEADLINES:
                known_verbs = ", ".join(plans.DEADLINES)
                raise InvalidArgument(f"deadlines[{verb}]", f"is none of {known_verbs}")
            if not 60 <= seconds <= MAX_DEADLINE:
                raise InvalidArgument(f"deadlines[{verb}]", "give 1 minute to 7 days")
        for index, step in enumerate(self.clean):
            if step not in plans.CLEANING or step in self.clean[:index]:
                raise InvalidArgument(
                    f"clean[{index}]", f"{step!r}: name each of {', '.join(plans.CLEANING)} once"
                )
        if bool(self.wipe_image) != ("wipe" in self.clean):
            raise InvalidArgument("wipe_image", "give one when clean has wipe, and only then")
        if self.wipe_image:
            image = existing(states, "image", self.wipe_image, Image)
            if image.kind != "iso":
                raise InvalidArgument("wipe_image", "a wipe image is of kind iso")


class DeleteProfile(Command, frozen=True, kw_only=True):
    """Forget a hardware profile; machines go by another that matches, or by the defaults."""

    NAME: ClassVar = "profile.delete"
    name: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the catalogue."""
        return [PROFILES]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Delete it."""
        known: Profiles = states.get(PROFILES) or Profiles()
        if self.name not in known.by_name:
            raise NotFound("profile", self.name)
        return [Change(PROFILES, ev.ProfileDeleted(name=self.name))]
