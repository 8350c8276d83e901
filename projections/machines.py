"""Read model ``machines``: the machines as they are now."""

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
        operation is not None,
    )


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
            ),
            _machine,
            indices=(
                "(status, created_seq, key)",
                "(claim) WHERE claim <> ''",
                "(project, created_seq, key) WHERE project <> ''",
                "(key) WHERE busy",
            ),
        ),
    ),
)
