"""What the console can do about a problem, if anything. Pure."""

from mulligan.console.actions.offered import Action, actions_for, release_brake, retry_projection
from mulligan.console.brief import machine_brief
from mulligan.diagnosis.found import Status
from mulligan.diagnosis.problem import Problem
from mulligan.proto.v1 import Machine

HELPING = ("retry", "abort")
"""What helps a machine that failed, or whose operation does not get on."""


def action_for(problem: Problem, found: Status) -> Action | None:
    """Return the action that helps, of what was found with the problem; None where none does."""
    kind, _, key = problem.stream.partition("/")
    match kind:
        case "machine":
            return next((_helping(one) for one in found.machines if one.uuid == key), None)
        case "brake":
            called = {one.domain: one.domain_name or one.domain for one in found.brakes}
            return release_brake(key, called[key]) if key in called else None
        case "projection":
            halted = {one.name for one in found.projections if one.status == "halted"}
            return retry_projection(key) if key in halted else None
        case _:
            return None


def _helping(machine: Machine) -> Action | None:
    offered = {one.verb: one for one in actions_for(machine_brief(machine))}
    return next((offered[verb] for verb in HELPING if verb in offered), None)
