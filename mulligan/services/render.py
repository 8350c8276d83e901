"""States as messages."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from mulligan.handlers import usage
from mulligan.handlers.account import Account, Project
from mulligan.handlers.claim import Claim
from mulligan.handlers.group import Group
from mulligan.handlers.image import Credential, Image
from mulligan.handlers.machine import Machine, Operation
from mulligan.handlers.provider import Provider, capacity
from mulligan.model import Position, RegionName
from mulligan.proto import v1

_NO_BOUND = 2**63 - 1


class Versioned(Protocol):
    """A state with its version and times."""

    @property
    def version(self) -> int:
        """Events folded so far."""

    @property
    def state(self) -> Any:
        """The folded state."""

    @property
    def created_at(self) -> datetime | None:
        """When its first event was committed."""

    @property
    def updated_at(self) -> datetime | None:
        """When its latest event was committed."""


def position(at: Position) -> v1.Position:
    """Render a position."""
    return v1.Position(region=at.region, seq=at.seq)


def etag(row: Versioned) -> str:
    """Return the etag of an object: its version."""
    return str(row.version)


def account(row: Versioned, region: RegionName) -> v1.Account:
    """Render an account."""
    state: Account = row.state
    return v1.Account(
        uuid=state.id,
        name=state.name,
        kind=state.kind,
        disabled=state.disabled_at is not None,
        roles=[v1.RoleBinding(role=b.role, project=b.project) for b in state.bindings],
        created_at=row.created_at,
        etag=etag(row),
        region=region,
    )


def project(row: Versioned, region: RegionName) -> v1.Project:
    """Render a project."""
    state: Project = row.state
    return v1.Project(
        uuid=state.id,
        name=state.name,
        parent=state.parent,
        created_at=row.created_at,
        etag=etag(row),
        region=region,
    )


def provider(
    row: Versioned, region: RegionName, groups: Sequence[str], now: datetime
) -> v1.Provider:
    """Render a provider with what is in use at ``now``."""
    state: Provider = row.state
    return v1.Provider(
        uuid=state.id,
        name=state.name,
        type=state.type,
        parent=state.parent,
        attributes=dict(state.attributes),
        inventories=[
            v1.Inventory(
                resource_class=class_,
                total=inventory.total,
                reserved=inventory.reserved,
                min_unit=inventory.min_unit,
                max_unit=0 if inventory.max_unit == _NO_BOUND else inventory.max_unit,
                step_size=inventory.step_size,
                allocation_ratio=inventory.allocation_ratio,
                capacity=capacity(inventory),
                used=_used(state.use.get(class_, ()), now),
            )
            for class_, inventory in sorted(state.inventories.items())
        ],
        capabilities=list(state.capabilities),
        cordons=[v1.Cordon(cause=c, note=note) for c, note in sorted(state.cordons.items())],
        groups=list(groups),
        over_committed=state.over_committed,
        created_at=row.created_at,
        etag=etag(row),
        region=region,
        shares=list(state.shares),
        distances=[
            v1.Distance(type=type_, group=group, position=position)
            for type_, to in sorted(state.distances.items())
            for group, position in sorted(to.items())
        ],
        turnaround=timedelta(seconds=state.turnaround) if state.turnaround else None,
        root=state.root,
    )


def _used(use: usage.Use, now: datetime) -> int:
    return sum(s.used for s in use if s.start <= now and (s.end is None or now < s.end))


def group(row: Versioned, region: RegionName) -> v1.Group:
    """Render a group."""
    state: Group = row.state
    return v1.Group(
        uuid=state.id,
        name=state.name,
        attributes=dict(state.attributes),
        members=list(state.members),
        created_at=row.created_at,
        etag=etag(row),
        region=region,
    )


def claim(row: Versioned, region: RegionName, names: dict[str, str]) -> v1.Claim:
    """Render a claim; ``names`` has the names of its providers by UUID."""
    state: Claim = row.state
    return v1.Claim(
        uuid=state.id,
        name=state.name,
        state=v1.ClaimState[state.state.upper()],
        project=state.project,
        account=state.account,
        consumer=state.consumer,
        window=v1.Window(start=state.start, end=state.end),
        allocations=[
            v1.Allocation(
                provider=a.provider,
                provider_name=names.get(a.provider, ""),
                amounts={str(c): n for c, n in a.amounts.items()},
                group=a.group,
                since=a.since,
                until=a.until,
                turnaround=timedelta(seconds=a.turnaround) if a.turnaround else None,
            )
            for a in state.allocations
        ],
        created_at=row.created_at,
        etag=etag(row),
        region=region,
        on_end=state.on_end,
        ending_notice=timedelta(seconds=state.ending_notice),
        stranded=[v1.Stranding(provider=s.provider, reason=s.reason) for s in state.stranded],
    )


def credential(row: Versioned, region: RegionName) -> v1.Credential:
    """Render a credential, which shows nothing of its secret."""
    state: Credential = row.state
    return v1.Credential(uuid=state.id, name=state.name, created_at=row.created_at, region=region)


def image(row: Versioned, region: RegionName) -> v1.Image:
    """Render an image."""
    state: Image = row.state
    return v1.Image(
        uuid=state.id,
        name=state.name,
        url=state.url,
        sha256=state.sha256,
        kind=state.kind,
        firmware=state.firmware,
        ready_when=state.ready_when,
        created_at=row.created_at,
        region=region,
    )


def machine(row: Versioned, region: RegionName, *, operator: bool) -> v1.Machine:
    """Render a machine; its BMC is for operators only."""
    state: Machine = row.state
    return v1.Machine(
        uuid=state.id,
        name=state.name,
        state=v1.MachineState[state.state.upper()],
        failed_operation=state.failed,
        power=v1.PowerStatus(observed=state.power, observed_at=state.power_at),
        claim=state.claim,
        project=state.project,
        image=state.image,
        bmc=_bmc(state) if operator else None,
        facts=_facts(state),
        operation=_operation(state.operation) if state.operation is not None else None,
        fault=_fault(state),
        created_at=row.created_at,
        updated_at=row.updated_at,
        etag=etag(row),
        region=region,
    )


def _bmc(state: Machine) -> v1.Bmc:
    return v1.Bmc(
        address=state.bmc.address,
        credential=state.bmc.credential,
        system=state.bmc.system,
        insecure=not state.bmc.verify,
        fingerprint=state.bmc.fingerprint,
    )


def _operation(operation: Operation) -> v1.Operation:
    action, retry = operation.action, operation.retry
    attempt = action.attempt if action is not None else retry.attempt if retry is not None else 0
    return v1.Operation(
        id=operation.id,
        verb=operation.verb,
        step=operation.step,
        step_number=min(operation.done + 1, len(operation.steps)),
        steps=len(operation.steps),
        attempt=attempt,
        started_at=operation.started_at,
        deadline=operation.deadline,
        owner=action.owner if action is not None else "",
    )


def _fault(state: Machine) -> v1.Fault | None:
    if state.fault is not None:
        fault = state.fault
        return v1.Fault(
            fault=fault.fault, message=fault.message, step=fault.step, since=fault.since
        )
    if state.operation is not None and state.operation.retry is not None:
        retry = state.operation.retry
        return v1.Fault(
            fault=retry.fault, message=retry.message, step=state.operation.step, since=retry.at
        )
    return None


def _facts(state: Machine) -> v1.Facts | None:
    facts = state.facts
    if facts is None:
        return None
    return v1.Facts(
        manufacturer=facts.manufacturer,
        model=facts.model,
        serial=facts.serial,
        sku=facts.sku,
        bios_version=facts.bios_version,
        bmc_firmware=facts.bmc_firmware,
        cpu_model=facts.cpu_model,
        cpu_sockets=facts.cpu_sockets,
        cpu_cores=facts.cpu_cores,
        cpu_threads=facts.cpu_threads,
        memory_bytes=facts.memory_bytes,
        nics=[v1.Nic(id=n.id, mac=n.mac, speed_mbps=n.speed_mbps, link=n.link) for n in facts.nics],
        disks=[v1.Disk(id=d.id, bytes=d.bytes, media=d.media, model=d.model) for d in facts.disks],
        missing=list(facts.missing),
    )
