"""What a caller may see of each object, and how it looks to them: the one place that says.

Whoever has a system role sees all. Everybody else, here called a tenant, sees one project: its
claims and user data, what it holds of providers and machines, and of what all share only what does
not tell of others. What a tenant may not see is not found, as if it were not there.
docs/tenancy.md has the table.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec.structs import replace

from mulligan.commands.runner import Commands
from mulligan.errors import MulliganError, NotFound
from mulligan.handlers import usage
from mulligan.handlers.claim import Claim
from mulligan.handlers.group import Group
from mulligan.handlers.machine import Machine
from mulligan.handlers.provider import Provider
from mulligan.model import ClaimId, ProjectId, ProviderId, ResourceClass
from mulligan.queries.freshness import wait_until
from mulligan.queries.holdings import held_of
from mulligan.queries.machines import MachineBrief
from mulligan.services.gate.caller import caller
from mulligan.services.objects import project_path
from mulligan.services.render import Versioned
from mulligan.services.runtime import Runtime

R = TypeVar("R", bound=Versioned)
M = TypeVar("M", Machine, MachineBrief)

OPERATOR = "operator"
"""Who acted, to a tenant, where it was none of its own project and no service."""

_MAINTENANCE = re.compile(r"(the end of its maintenance), by [^:]*: .*", re.DOTALL)
_BRAKE = re.compile(
    r"(the brake of its failure domain to be released)(?:: .*| \([^)]*\))", re.DOTALL
)


def sees_all() -> bool:
    """Whether the present caller sees every project."""
    try:
        return caller().is_system
    except LookupError:  # a public method: nobody is known yet
        return False


def holder() -> ProjectId | None:
    """Return the project whose objects alone the caller sees; None when it sees all."""
    return None if sees_all() else caller().project


def told(error: Exception) -> Exception:
    """Return the error as the caller may read it."""
    if not isinstance(error, MulliganError) or not error.outside or sees_all():
        return error
    seen = type(error).__new__(type(error), error.outside)
    seen.__dict__.update(error.__dict__, message=error.outside)
    if hasattr(seen, "facts"):
        seen.facts = {}
    return seen


async def require_held(runtime: Runtime, provider: str, called: str) -> None:
    """Raise NotFound, by what they ``called`` it, for a provider that the caller does not hold."""
    project = holder()
    if project is None:
        return
    parts = runtime.parts
    await wait_until(parts.database, ("claims",), parts.commands.position().seq)
    if not await held_of(parts.database, project, [provider]):
        raise NotFound("provider", called)


def provider_seen(row: R, use: Mapping[ResourceClass, usage.Use]) -> R:
    """Return a provider as the caller sees it: to a tenant, with its own ``use`` and no cordons.

    Nor a version, which counts what others take and give back.
    """
    if sees_all():
        return row
    state: Provider = row.state
    return _with(row, replace(state, cordons={}, use=dict(use)), version=0)


def group_seen(row: R, held: Sequence[ProviderId]) -> R:
    """Return a group as the caller sees it: to a tenant, with the members that it has ``held``."""
    if sees_all():
        return row
    state: Group = row.state
    return _with(row, replace(state, members=tuple(held)))


def _with(row: R, state: object, **more: int) -> R:
    struct: Any = row
    changed: R = replace(struct, state=state, **more)
    return changed


async def reaches(commands: Commands, project: ProjectId) -> bool:
    """Whether a project is the caller's own or below it; every one is to who sees all."""
    own = holder()
    if own is None:
        return True
    path = await project_path(commands.state, project)
    return any(one is not None and one.id == own for one in path)


def held_by(row: R, claim: ClaimId, project: ProjectId) -> R:
    """Return a machine that nothing runs on yet as its holder sees it: with the claim it is for."""
    return _with(row, replace(row.state, claim=claim, project=project))


def machine_held(state: M) -> M:
    """Return a machine as the tenant who holds it sees it.

    Nothing tells how its BMC is reached, which operator keeps it and why, or of other machines.
    """
    cordon, fault, operation = state.cordon, state.fault, state.operation
    if cordon is not None:
        cordon = replace(cordon, by="", reason="")
    if fault is not None:
        fault = replace(fault, message=machine_text(fault.message, state))
    if operation is not None and operation.retry is not None:
        message = machine_text(operation.retry.message, state)
        operation = replace(operation, retry=replace(operation.retry, message=message))
    if operation is not None and operation.action is not None and operation.action.monitor:
        operation = replace(operation, action=replace(operation.action, monitor=""))
    return replace(state, cordon=cordon, fault=fault, operation=operation)


def machine_text(text: str, machine: Machine | MachineBrief) -> str:
    """Return what was said about a machine as the tenant who holds it may read it."""
    text = _BRAKE.sub(r"\1", _MAINTENANCE.sub(r"\1", text))
    address = machine.bmc.address
    host = urlsplit(address).hostname or ""
    for one in (address, urlsplit(address).netloc, host):
        if one:
            text = re.sub(rf"(?<![\w.-]){re.escape(one)}(?::\d+)?(?![\w-])", "the BMC", text)
    return text


def claim_seen(row: R) -> R:
    """Return a claim as the caller sees it, who holds it or sees all."""
    state: Claim = row.state
    if sees_all() or not state.stranded:
        return row
    told = tuple(replace(one, reason=stranding_seen(one.reason)) for one in state.stranded)
    return _with(row, replace(state, stranded=told))


def stranding_seen(reason: str) -> str:
    """Return why a reservation is stranded; to a tenant without the count of what others use."""
    return reason if sees_all() else reason.partition(": ")[0]
