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
from mulligan.handlers import lifecycle, names, provider, quota, serial
from mulligan.handlers.claim import LIVE, Claim, name_freed, returning
from mulligan.handlers.credential import Credential
from mulligan.handlers.decision import Change, Command, States, existing, require_new
from mulligan.handlers.machine import Machine
from mulligan.handlers.plans import PROFILES
from mulligan.handlers.profile import check_assigned
from mulligan.handlers.provider import Provider
from mulligan.model import ClaimId, MachineId, ProviderId, StreamId, stream_id

NOT_PROVIDED_CORDON = "not-provided"


def bmc_stream(bmc: Bmc) -> StreamId:
    """Name the stream that keeps one system of one BMC from being enrolled twice."""
    return stream_id("name", f"bmc/{names.REGION_SCOPE}/{bmc_key(bmc)}")


def bmc_key(bmc: Bmc) -> str:
    """Return what identifies a system: its BMC's address and its id there."""
    return f"{bmc.address}#{bmc.system}".lower()


_PORTS = {"https": ":443", "http": ":80"}


def plain_address(address: str) -> str:
    """Return a BMC's address in the one way to write it: no closing slash, no usual port.

    What is no address is left to ``check_bmc``.
    """
    bare = address.rstrip("/")
    scheme = bare.partition("://")[0].lower()
    return bare.removesuffix(_PORTS.get(scheme, ""))


def bmc_assigned(bmc: Bmc, machine: MachineId) -> name_events.NameAssigned:
    """Return the event by which one machine holds one system of one BMC."""
    return name_events.NameAssigned(
        kind="bmc",
        scope=names.REGION_SCOPE,
        name=bmc_key(bmc),
        slug=bmc_key(bmc),
        object=machine,
    )


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
    if bmc.pin and not (bmc.verify and parts.scheme == "https"):
        raise InvalidArgument(
            "bmc.pin", "a certificate can be pinned over https only, and where it is checked"
        )
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,128}", bmc.system):
        raise InvalidArgument("bmc.system", f"{bmc.system!r} is no Redfish system id")


class EnrolMachine(Command, frozen=True, kw_only=True):
    """Know of a machine by its BMC; its root provider, of the same UUID, takes no claims yet."""

    NAME: ClassVar = "machine.enrol"
    machine: MachineId
    name: str
    bmc: Bmc
    parent: ProviderId = ProviderId("")
    profile: str = ""

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine, its names, its BMC's holder, credential, parent and profile."""
        streams = [
            stream_id("machine", self.machine),
            stream_id("provider", self.machine),
            names.name_stream("machine", self.name),
            names.name_stream("provider", self.name),
            bmc_stream(self.bmc),
            stream_id("credential", self.bmc.credential),
        ]
        streams += [stream_id("provider", self.parent)] if self.parent else []
        return streams + ([PROFILES] if self.profile else [])

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Refuse a BMC that another machine has."""
        require_new(states, "machine", self.machine)
        require_new(states, "provider", self.machine)
        check_bmc(self.bmc)
        existing(states, "credential", self.bmc.credential, Credential)
        check_assigned(states, self.profile)
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
                ev.MachineEnrolled(
                    machine=self.machine, name=self.name, bmc=self.bmc, profile=self.profile
                ),
            ),
            *names.assign(states, "machine", self.name, self.machine),
            *names.assign(states, "provider", self.name, self.machine),
            Change(bmc_stream(self.bmc), bmc_assigned(self.bmc, self.machine)),
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
            chassis = serial.serial_stream(machine.facts)
            streams += [chassis] if chassis is not None else []
            streams += _of_claim(states, machine.claim) if machine.claim else []
        if held is not None:
            streams.append(names.name_stream("provider", held.name))
            streams += [stream_id("provider", held.parent)] if held.parent else []
            streams += [stream_id("provider", c) for c in held.children]
            for child in held.children:
                part: Provider | None = states.get(stream_id("provider", child))
                if part is not None:
                    streams.append(names.name_stream("provider", part.name))
        return streams

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Free its names; by force, also end its hold by a claim and record what may be on it."""
        machine = existing(states, "machine", self.machine, Machine)
        if self.force and not self.reason.strip():
            raise InvalidArgument("reason", "say why the machine is deleted by force")
        idle = lifecycle.condition(machine) in lifecycle.ALLOWED["delete"]
        if not self.force and (not idle or machine.operation is not None):
            raise FailedPrecondition(
                f"machine {machine.name} is {lifecycle.condition(machine)}; release and manage it"
                " first, or delete it with force and a reason"
            )
        if not self.force and machine.unwiped:
            raise FailedPrecondition(
                f"machine {machine.name} was never cleaned after its last use; provide it first,"
                " or delete it with force and a reason"
            )
        stream = stream_id("machine", self.machine)
        event: ev.Event = ev.MachineDeleted()
        if self.force:
            number = machine.facts.serial if machine.facts else ""
            event = ev.MachineAbandoned(reason=self.reason, unwiped=machine.unwiped, serial=number)
        changes = _claim_lost(states, machine, now) if machine.claim else []
        changes += [Change(stream, event), *names.free(states, "machine", machine.name, machine.id)]
        changes.append(Change(bmc_stream(machine.bmc), name_events.NameReleased(object=machine.id)))
        changes += _chassis_gone(states, machine, self.reason if self.force else "")
        after = _after(states, changes, now)
        parts = _parts_gone(after, machine, now, self.force)
        changes += parts
        return changes + _provider_gone(_after(after, parts, now), machine, now, self.force)


def _of_claim(states: States, claim: ClaimId) -> list[StreamId]:
    """Name a claim, its name and the quotas that count it."""
    stream = stream_id("claim", claim)
    state: Claim | None = states.get(stream)
    if state is None:
        return [stream]
    streams = [stream, *quota.streams(states, state.project)]
    if state.name:
        streams.append(names.name_stream("claim", state.name, state.project))
    return streams


def _chassis_gone(states: States, machine: Machine, reason: str) -> list[Change]:
    """Free the machine's serial number; one deleted by force with data on it is remembered."""
    chassis = serial.serial_stream(machine.facts)
    if chassis is None:
        return []
    if reason and machine.unwiped:
        return serial.abandoned(chassis, machine.id, reason)
    return serial.freed(states, chassis, machine.id)


def _parts_gone(states: States, machine: Machine, now: datetime, force: bool) -> list[Change]:
    """Delete the machine's components; by force, those in use are only closed."""
    held: Provider | None = states.get(stream_id("provider", machine.id))
    changes: list[Change] = []
    for child in held.children if held is not None else ():
        changes += _gone(states, child, now, force)
    return changes


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
    """Return the states with what the changes free of providers, and of their children."""
    after = dict(states)
    for stream, event in changes:
        if isinstance(event, provider_events.CapacityFreed | provider_events.ChildRemoved):
            after[stream] = provider.evolve(after[stream], event, now)
    return after


def _provider_gone(states: States, machine: Machine, now: datetime, force: bool) -> list[Change]:
    held: Provider | None = states.get(stream_id("provider", machine.id))
    return [] if held is None else _gone(states, held.id, now, force)


def _gone(states: States, provider_id: ProviderId, now: datetime, force: bool) -> list[Change]:
    """Delete a provider; by force, one that is in use is only closed to new claims."""
    held: Provider | None = states.get(stream_id("provider", provider_id))
    if held is None or held.deleted:
        return []
    try:
        return provider.deleted(states, held.id, now)
    except FailedPrecondition:
        if not force:
            raise
        return provider.cordoned(held, "machine-abandoned")
