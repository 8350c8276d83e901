"""Stream ``credential/…``: logins of BMCs by version, and what a rotation makes of them.

A login has one current ``version``. While a rotation is under way there is a ``next_version``
beside it, which machines are given one after the other. Versions that a rotation left behind are
``older`` until they are destroyed: some machine's BMC may still have one of them.
"""

from datetime import datetime
from typing import ClassVar, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import FailedPrecondition
from mulligan.events import credential as ev
from mulligan.handlers import names
from mulligan.handlers.decision import Change, Command, States, existing, require_new
from mulligan.model import CredentialId, StreamId, stream_id

MAX_OLDER = 8
"""Passwords that may have been given up within one rotation."""


class Credential(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reference to a BMC login; ``version`` names it in the secret store.

    ``next_version`` is what a rotation brings to the BMCs, since ``rotating_since``.
    """

    id: CredentialId
    name: str
    version: str
    deleted: bool = False
    next_version: str = ""
    rotating_since: datetime | None = None
    older: tuple[str, ...] = ()

    @property
    def goal(self) -> str:
        """The version that every machine is to be brought to; empty when none is under way.

        After a rotation, while former versions are there, it is the current one: a machine may
        have come to the login when the rotation ended.
        """
        return self.next_version or (self.version if self.older else "")

    @property
    def kept(self) -> tuple[str, ...]:
        """Every version that is in the secret store, the likeliest first."""
        newest = (self.next_version,) if self.next_version else ()
        return (self.version, *newest, *reversed(self.older))


def evolve(state: Credential | None, event: ev.Event, at: datetime) -> Credential:
    """Return the credential as it is after the event."""
    if isinstance(event, ev.CredentialCreated):
        return Credential(id=event.credential, name=event.name, version=event.version)
    assert state is not None, "the first event of a credential creates it"
    match event:
        case ev.CredentialDeleted():
            return replace(state, deleted=True)
        case ev.RotationStarted():
            given_up = (state.next_version,) if state.next_version else ()
            return replace(
                state,
                next_version=event.version,
                rotating_since=at,
                older=(*state.older, *given_up),
            )
        case ev.RotationFinished():
            return replace(
                state,
                version=event.version,
                next_version="",
                rotating_since=None,
                older=(*state.older, state.version),
            )
        case ev.VersionsDestroyed():
            left = tuple(v for v in state.older if v not in event.versions)
            return replace(state, older=left)
        case _:
            assert_never(event)


def logins_of(credential: Credential, known: tuple[str, ...]) -> tuple[str, str]:
    """Return the version to log in with, and the one to try, once, when that is refused.

    ``known`` are the versions that the machine's BMC may have, as far as its own stream tells; the
    second is empty when no other is in the secret store.
    """
    kept = credential.kept
    likely = [v for v in known if v in kept] or [credential.version]
    first = likely[0]
    others = [*likely[1:], credential.next_version, *kept]
    return first, next((v for v in others if v and v != first), "")


class CreateCredential(Command, frozen=True, kw_only=True):
    """Announce a BMC login that is in the secret store already."""

    NAME: ClassVar = "credential.create"
    credential: CredentialId
    name: str
    version: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the credential and its name."""
        return [
            stream_id("credential", self.credential),
            names.name_stream("credential", self.name),
        ]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it under a free name."""
        require_new(states, "credential", self.credential)
        event = ev.CredentialCreated(
            credential=self.credential, name=self.name, version=self.version
        )
        changes = names.assign(states, "credential", self.name, self.credential)
        return [*changes, Change(stream_id("credential", self.credential), event)]


class DeleteCredential(Command, frozen=True, kw_only=True):
    """Forget a BMC login; the secret itself is destroyed by the service after this."""

    NAME: ClassVar = "credential.delete"
    credential: CredentialId

    def reads(self, states: States) -> list[StreamId]:
        """Read the credential, then its name."""
        stream = stream_id("credential", self.credential)
        state: Credential | None = states.get(stream)
        return [stream] if state is None else [stream, names.name_stream("credential", state.name)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Delete it and free its name, unless its BMCs are just being given another password."""
        state = existing(states, "credential", self.credential, Credential)
        if state.next_version:
            raise FailedPrecondition(
                f"credential {state.name} is being rotated; wait for the end of that (credential"
                " show), or have the machines that are left use another login"
            )
        changes = [Change(stream_id("credential", self.credential), ev.CredentialDeleted())]
        return changes + names.free(states, "credential", state.name, self.credential)
