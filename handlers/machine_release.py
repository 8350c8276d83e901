"""Giving a machine back: detached and cleaned in one commit, so that none is held by nobody."""

from datetime import datetime

from mulligan.events import machine as ev
from mulligan.handlers import provider
from mulligan.handlers.decision import Change, States
from mulligan.handlers.machine import Machine, evolve
from mulligan.handlers.provider import Provider
from mulligan.handlers.starts import clean_started, power_started
from mulligan.model import ClaimId, CommitId, ProviderId, stream_id

CLEANING_CORDON = "cleaning"
KEPT_CORDON = "kept"


def released(states: States, machine: ProviderId, claim: ClaimId, now: datetime) -> list[Change]:
    """Take a machine from ``claim`` and start cleaning it; nothing when the claim does not hold it.

    An operation that runs is given up: its executor's later observations are ignored.
    """
    state: Machine | None = states.get(stream_id("machine", machine))
    if state is None or state.deleted or state.claim != claim:
        return []
    stream = stream_id("machine", state.id)
    given_up = _given_up(state, "the claim was given back", now)
    changes = [Change(stream, event) for event in given_up]
    changes.append(Change(stream, ev.ClaimDetached(claim=claim)))
    operation = CommitId(f"clean-{claim}")
    changes.append(Change(stream, clean_started(states, state, operation, now)))
    held: Provider | None = states.get(stream_id("provider", machine))
    if held is not None:
        changes += provider.cordoned(held, CLEANING_CORDON)
        changes += provider.uncordoned(held, KEPT_CORDON)
    return changes


def kept(states: States, machine: ProviderId, claim: ClaimId, now: datetime) -> list[Change]:
    """Switch a machine off and keep all that is on it, until its holder releases it.

    Nothing when the claim does not hold it. Nobody else can claim it meanwhile.
    """
    state: Machine | None = states.get(stream_id("machine", machine))
    if state is None or state.deleted or state.claim != claim:
        return []
    stream = stream_id("machine", state.id)
    changes: list[Change] = []
    for given_up in _given_up(state, "the claim has ended", now):
        changes.append(Change(stream, given_up))
        state = evolve(state, given_up, now)
    off = power_started(states, state, "off", CommitId(f"keep-{claim}"), now)
    # Seen to until its holder releases it, however often switching it off fails.
    changes += [Change(stream, ev.DesiredPowerSet(power="off")), Change(stream, off)]
    held: Provider | None = states.get(stream_id("provider", machine))
    return changes + (provider.cordoned(held, KEPT_CORDON) if held is not None else [])


def _given_up(state: Machine, message: str, now: datetime) -> list[ev.OperationFailed]:
    if state.operation is None:
        return []
    given_up = ev.OperationFailed(
        operation=state.operation.id,
        step=state.operation.step,
        fault="released",
        message=message,
        at=now,
    )
    return [given_up]
