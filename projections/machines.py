"""Read model ``machines``: the machines as they are now, their makes, chassis and brakes."""

from datetime import datetime

from mulligan.handlers.brake import Brake
from mulligan.handlers.completion import NOT_THE_MACHINE
from mulligan.handlers.enrolment import plain_address
from mulligan.handlers.machine import Machine
from mulligan.projections.schema import ReadModel, Row, columns, stream_table


def _machine(key: str, machine: Machine) -> Row:
    operation = machine.operation
    return (
        machine.state,
        machine.claim,
        machine.project,
        operation.verb if operation else "",
        operation.step if operation else "",
        operation.deadline if operation else None,
        _attended(machine),
        machine.name,
        machine.health,
        machine.facts.manufacturer if machine.facts is not None else "",
        machine.facts.model if machine.facts is not None else "",
        _troubled_at(machine),
        machine.bmc.credential,
        plain_address(machine.bmc.address).lower(),
        machine.passwords[0] if len(machine.passwords) == 1 else "",
        machine.cordon is not None and machine.cordon.maintenance,
        *_rotated(machine),
    )


def _rotated(machine: Machine) -> Row:
    """Return what came last of giving the BMC another password: version, fault, how often, when."""
    trouble = machine.unrotated
    if trouble is not None:
        return trouble.version, trouble.fault, trouble.failures, trouble.at
    return "", "", 0, machine.proven_at


def _attended(machine: Machine) -> bool:
    """Whether a reconciler has something to wait for, or to see to."""
    if machine.deleted:
        return False
    timed = machine.cordon is not None and machine.cordon.until is not None
    return machine.operation is not None or timed or bool(machine.desired)


def _troubled_at(machine: Machine) -> datetime | None:
    """Return when the machine failed by its own fault, or lost its power, what came last."""
    fault = machine.fault
    ours = fault is not None and fault.fault in NOT_THE_MACHINE
    failed = None if fault is None or ours or machine.failed in {"inspect", "adopt"} else fault
    times = [failed.since if failed is not None else None, machine.power_lost]
    return max((time for time in times if time is not None), default=None)


def _brake(key: str, brake: Brake) -> Row:
    return (brake.applied is not None,)


MODEL = ReadModel(
    name="machines",
    tables=(
        stream_table(
            "machine",
            "machine",
            columns(
                status="text",
                claim="text",
                project="text",
                verb="text",
                step="text",
                deadline="timestamptz",
                busy="boolean",
                name="text",
                health="text",
                manufacturer="text",
                model="text",
                troubled_at="timestamptz",
                credential="text",
                bmc="text",
                password="text",
                maintenance="boolean",
                tried="text",
                tried_fault="text",
                tried_times="integer",
                tried_at="timestamptz",
            ),
            _machine,
            indices=(
                "(status, created_seq, key)",
                "(claim) WHERE claim <> ''",
                "(project, created_seq, key) WHERE project <> ''",
                "(key) WHERE busy",
                "(troubled_at) WHERE troubled_at IS NOT NULL",
                "(credential, bmc)",
            ),
        ),
        stream_table("serial", "serial"),
        stream_table("profile", "profile"),
        stream_table("brake", "brake", columns(applied="boolean"), _brake),
    ),
)
