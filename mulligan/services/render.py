"""States as messages."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from mulligan.events.envelope import Commit
from mulligan.handlers import usage
from mulligan.handlers.account import Account, Project, SigningKey
from mulligan.handlers.brake import Brake
from mulligan.handlers.claim import Claim
from mulligan.handlers.credential import Credential
from mulligan.handlers.group import Group
from mulligan.handlers.image import Image
from mulligan.handlers.profile import HardwareProfile
from mulligan.handlers.provider import Provider, capacity
from mulligan.handlers.userdata import UserData
from mulligan.model import Position, RegionName
from mulligan.proto import v1
from mulligan.queries.providers import ProviderBrief

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
    """Return the etag of an object: its version; empty where that is not to be seen."""
    return str(row.version) if row.version else ""


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
        owner=state.owner,
        expires_at=state.expires_at,
        certificates=[
            v1.Certificate(fingerprint=c.fingerprint, subject=c.subject, expires_at=c.expires_at)
            for c in state.certificates
        ],
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
        disabled=state.disabled_at is not None,
    )


def provider_brief(state: ProviderBrief, region: RegionName) -> v1.Provider:
    """Render what a provider is called and where it stands, and nothing else."""
    return v1.Provider(
        uuid=state.id, name=state.name, type=state.type, parent=state.parent, region=region
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
    """Render a credential, which shows nothing of its secret; of a rotation, since when it is."""
    state: Credential = row.state
    shown = v1.Credential(uuid=state.id, name=state.name, created_at=row.created_at, region=region)
    if state.goal:
        shown.rotation = v1.Rotation(started_at=state.rotating_since)
    return shown


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


def user_data(row: Versioned, region: RegionName) -> v1.UserData:
    """Render user data without its content."""
    state: UserData = row.state
    return v1.UserData(
        uuid=state.id,
        name=state.name,
        project=state.project,
        sha256=state.sha256,
        size=state.size,
        created_at=row.created_at,
        region=region,
    )


def profile(state: HardwareProfile) -> v1.HardwareProfile:
    """Render a hardware profile."""
    return v1.HardwareProfile(
        name=state.name,
        manufacturer=state.manufacturer,
        model=state.model,
        deadlines=dict(state.deadlines),
        clean=list(state.clean),
        wipe_image=state.wipe_image,
    )


def brake(state: Brake, name: str) -> v1.Brake:
    """Render a brake that holds in the domain of that name."""
    assert state.applied is not None
    return v1.Brake(
        domain=state.domain,
        domain_name=name,
        failed=state.applied.failed,
        total=state.applied.total,
        window=state.applied.window,
        applied_at=state.applied.at,
    )


def signing_key(key: SigningKey) -> v1.Key:
    """Return a signing key's public half."""
    return v1.Key(
        kid=key.kid,
        x=key.x,
        active=key.honoured_until is None,
        use=key.use,
        created_at=key.created_at,
        honoured_until=key.honoured_until,
    )


def log_record(commit: Commit, at: v1.Position | None = None) -> v1.LogRecord:
    """Render a commit as it stands in the log; without a position, as it would stand."""
    return v1.LogRecord(
        position=at,
        commit=commit.id,
        at=commit.at,
        account=commit.actor.account,
        project=commit.actor.project,
        command=commit.command,
        causation=commit.causation,
        correlation=commit.correlation,
        credential=commit.actor.credential,
        traceparent=commit.traceparent,
        events=[
            v1.LogEvent(
                stream=e.stream,
                version=e.version,
                type=e.type,
                schema=e.v,
                data=bytes(e.data).decode(),
            )
            for e in commit.events
        ],
    )
