"""Read model ``claims``: claims, and what each takes of which provider over which time."""

from collections.abc import Iterable
from datetime import datetime

from mulligan.handlers.claim import LIVE, Claim
from mulligan.projections.schema import ChildTable, ReadModel, Row, columns, stream_table


def due_at(claim: Claim) -> datetime | None:
    """Return when the claim's next timer fires: its start while reserved, then its end."""
    if claim.state == "reserved":
        return claim.start
    return claim.end if claim.state == "active" else None


def _claim(key: str, claim: Claim) -> Row:
    return (claim.project, claim.state, claim.start, claim.end, due_at(claim))


def _allocations(key: str, claim: Claim) -> Iterable[Row]:
    """Give the effective window: up to the close of what was closed early."""
    end = claim.end
    if claim.closed_at is not None:
        end = max(claim.start, claim.closed_at)
    return [
        (
            key,
            ordinal,
            class_,
            allocation.provider,
            claim.project,
            amount,
            claim.start,
            end,
            claim.state in LIVE and allocation.provider not in claim.returned,
        )
        for ordinal, allocation in enumerate(claim.allocations)
        for class_, amount in allocation.amounts.items()
    ]


MODEL = ReadModel(
    name="claims",
    tables=(
        stream_table(
            "claim",
            "claim",
            columns(
                project="text",
                status="text",
                start_at="timestamptz",
                end_at="timestamptz",
                due_at="timestamptz",
            ),
            _claim,
            children=(
                ChildTable(
                    name="allocation",
                    columns=columns(
                        claim="text",
                        ordinal="bigint",
                        class_="text",
                        provider="text",
                        project="text",
                        amount="bigint",
                        from_="timestamptz",
                        to_="timestamptz",
                        live="boolean",
                    ),
                    key=3,
                    rows=_allocations,
                    indices=("(provider, claim)",),
                ),
            ),
            indices=(
                "(project, created_seq, key)",
                "(status, created_seq, key)",
                "(due_at, key) WHERE due_at IS NOT NULL",
            ),
        ),
    ),
)
