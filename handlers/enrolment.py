"""Taking machines into the inventory and out of it."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar
from urllib.parse import urlsplit

from mulligan.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from mulligan.events import claim as claim_events
from mulligan.events import machine as ev
from mulligan.events import name as name_events
from mulligan.events import provider as provider_events
from mulligan.events.machine import Bmc
from mulligan.handlers import names, provider, quota
from mulligan.handlers.claim import LIVE, Claim, name_freed, returning
from mulligan.handlers.decision import Change, Command, States, existing, require_new
from mulligan.handlers.image import Credential
from mulligan.handlers.machine import Machine
from mulligan.handlers.provider import Provider
from mulligan.model import MachineId, ProviderId, StreamId, stream_id

NOT_PROVIDED_CORDON = "not-provided"
DELETABLE = frozenset({"enrolled", "manageable"})


def bmc_stream(bmc: Bmc) -> StreamId:
    """Name the stream that keeps one system of one BMC from being enrolled twice."""
    return stream_id("name", f"bmc/{names.REGION_SCOPE}/{bmc_key(bmc)}")


def bmc_key(bmc: Bmc) -> str:
    """Return what identifies a system: its BMC's address and its id there."""
    return f"{bmc.address}#{bmc.system}".lower()


def check_bmc(bmc: Bmc) -> None:
    """Raise InvalidArgument, naming the field, unless the BMC can be addressed."""
    parts = urlsplit(bmc.address)
    try:
        port = parts.port
    except ValueError:
        port = 0
    bare = parts.path in {"", "/"} and not parts.query and not parts.username
    bare = bare and re.fullmatch(r"[!-~]{1,512}", bmc.address) is not None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or not bare:
        raise InvalidArgument(
            "bmc.address", f"{bmc.address!r}: write https://host or https://host:port"
        )
    if bmc.fingerprint and not re.fullmatch(r"[0-9a-f]{64}", bmc.fingerprint):
        raise InvalidArgument("bmc.fingerprint", "write the certificate's sha256 as 64 hex digits")
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,128}", bmc.system):
        raise InvalidArgument("bmc.system", f"{bmc.system!r} is no Redfish system id")


class EnrolMachine(Command, frozen=True, kw_only=True):
    """Know of a machine by its BMC; its root provider, of the same UUID, takes no claims yet."""

    NAME: ClassVar = "machine.enrol"
    machine: MachineId
    name: str
    bmc: Bmc
    parent: ProviderId = ProviderId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine, its names, its BMC's holder, its credential and its parent."""
        streams = [
            stream_id("machine", self.machine),
            stream_id("provider", self.machine),
            names.name_stream("machine", self.name),
            names.name_stream("provider", self.name),
            bmc_stream(self.bmc),
            stream_id("credential", self.bmc.credential),
        ]
        return streams + ([stream_id("provider", self.parent)] if self.parent else [])

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Refuse a BMC that another machine has."""
        require_new(states, "machine", self.machine)
        require_new(states, "provider", self.machine)
        check_bmc(self.bmc)
        existing(states, "credential", self.bmc.credential, Credential)
        holder: names.NameState | None = states.get(bmc_stream(self.bmc))
        if holder is not None and holder.object:
            raise AlreadyExists(
                f"{self.bmc.address} system {self.bmc.system or '(the only one)'} is machine"
                f" {holder.object} already"
            )
        provider_id = ProviderId(self.machine)
        stream = stream_id("provider", provider_id)
        changes = [
            Change(
                stream_id("machine", self.machine),
                ev.MachineEnrolled(machine=self.machine, name=self.name, bmc=self.bmc),
            ),
            *names.assign(states, "machine", self.name, self.machine),
            *names.assign(states, "provider", self.name, self.machine),
            Change(
                bmc_stream(self.bmc),
                name_events.NameAssigned(
                    kind="bmc",
                    scope=names.REGION_SCOPE,
                    name=bmc_key(self.bmc),
                    slug=bmc_key(self.bmc),
                    object=self.machine,
                ),
            ),
            Change(
                stream,
                provider_events.ProviderCreated(
                    provider=provider_id,
                    type="machine",
                    name=self.name,
                    parent=self.parent,
                    ancestors=provider.above(states, self.parent),
                ),
            ),
            Change(stream, provider_events.ProviderCordoned(cause=NOT_PROVIDED_CORDON)),
        ]
        if self.parent:
            child = provider_events.ChildAdded(child=provider_id)
            changes.append(Change(stream_id("provider", self.parent), child))
        return changes


class DeleteMachine(Command, frozen=True, kw_only=True):
    """Forget a machine; ``force`` does so from any state and needs a ``reason``."""

    NAME: ClassVar = "machine.delete"
    machine: MachineId
    force: bool = False
    reason: str = ""

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and its provider, then what refers to them."""
        streams = [stream_id("machine", self.machine), stream_id("provider", self.machine)]
        machine: Machine | None = states.get(streams[0])
        held: Provider | None = states.get(streams[1])
        if machine is not None:
            streams += [names.name_stream("machine", machine.name), bmc_stream(machine.bmc)]
            if machine.claim:
                streams.append(stream_id("claim", machine.claim))
        if held is not None:
            streams.append(names.name_stream("provider", held.name))
            if held.parent:
                streams.append(stream_id("provider", held.parent))
        claim: Claim | None = states.get(stream_id("claim", machine.claim)) if machine else None
        if claim is not None:
            streams += quota.streams(states, claim.project)
        if claim is not None and claim.name:
            streams.append(names.name_stream("claim", claim.name, claim.project))
        return streams

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Free its names; by force, also end its hold by a claim and record what may be on it."""
        machine = existing(states, "machine", self.machine, Machine)
        if self.force and not self.reason.strip():
            raise InvalidArgument("reason", "say why the machine is deleted by force")
        idle = machine.state in DELETABLE or (machine.state, machine.failed) == (
            "failed",
            "inspect",
        )
        if not self.force and (not idle or machine.operation is not None):
            raise FailedPrecondition(
                f"machine {machine.name} is {machine.state}; release and manage it first, or"
                " delete it with force and a reason"
            )
        if not self.force and machine.unwiped:
            raise FailedPrecondition(
                f"machine {machine.name} was never cleaned after its last use; provide it first,"
                " or delete it with force and a reason"
            )
        stream = stream_id("machine", self.machine)
        event: ev.Event = ev.MachineDeleted()
        if self.force:
            serial = machine.facts.serial if machine.facts else ""
            event = ev.MachineAbandoned(reason=self.reason, unwiped=machine.unwiped, serial=serial)
        changes = _claim_lost(states, machine, now) if machine.claim else []
        changes += [Change(stream, event), *names.free(states, "machine", machine.name, machine.id)]
        changes.append(Change(bmc_stream(machine.bmc), name_events.NameReleased(object=machine.id)))
        return changes + _provider_gone(_after(states, changes, now), machine, now, self.force)


def _claim_lost(states: States, machine: Machine, now: datetime) -> list[Change]:
    claim: Claim | None = states.get(stream_id("claim", machine.claim))
    changes = [Change(stream_id("machine", machine.id), ev.ClaimDetached(claim=machine.claim))]
    if claim is None or claim.state not in LIVE:
        return changes
    return changes + allocation_released(states, claim, ProviderId(machine.id), now)


def allocation_released(
    states: States, claim: Claim, provider_id: ProviderId, now: datetime
) -> list[Change]:
    """Give back what a claim takes of one provider; with the last of them the claim is released."""
    changes = returning(states, claim, provider_id, now)
    stream = stream_id("claim", claim.id)
    event: claim_events.Event = claim_events.AllocationReleased(provider=provider_id, at=now)
    if all(a.provider == provider_id for a in claim.held):
        event = claim_events.ClaimReleased(at=now)
        changes += name_freed(states, claim)
    return [Change(stream, event), *changes]


def _after(states: States, changes: Iterable[Change], now: datetime) -> States:
    """Return the states with what the changes free of providers."""
    after = dict(states)
    for stream, event in changes:
        if isinstance(event, provider_events.CapacityFreed):
            after[stream] = provider.evolve(after[stream], event, now)
    return after


def _provider_gone(states: States, machine: Machine, now: datetime, force: bool) -> list[Change]:
    held: Provider | None = states.get(stream_id("provider", machine.id))
    if held is None or held.deleted:
        return []
    try:
        return provider.deleted(states, held.id, now)
    except FailedPrecondition:
        if not force:
            raise
        return provider.cordoned(held, "machine-abandoned")
