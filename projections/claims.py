"""Read model ``claims``: claims, what each takes of which provider over which time, and quotas."""

from collections.abc import Iterable
from datetime import datetime

from mulligan.handlers.claim import LIVE, Claim, Hold
from mulligan.projections.schema import ChildTable, ReadModel, Row, columns, stream_table


def due_at(claim: Claim) -> datetime | None:
    """Return when the claim's next timer fires: its start, then its notice, then its end."""
    if claim.state == "reserved":
        return claim.start
    if claim.state != "active":
        return None
    return claim.notice_at or claim.end


def _claim(key: str, claim: Claim) -> Row:
    due = due_at(claim)
    return (claim.project, claim.state, claim.start, claim.end, due, bool(claim.stranded))


def _allocations(key: str, claim: Claim) -> Iterable[Row]:
    """Give the effective windows: up to the close of what was closed early."""
    return [
        (
            key,
            ordinal,
            class_,
            hold.provider,
            claim.project,
            claim.account,
            amount,
            *_window(claim, hold),
            claim.state in LIVE and hold.until is None,
        )
        for ordinal, hold in enumerate(claim.allocations)
        for class_, amount in hold.amounts.items()
    ]


def _window(claim: Claim, hold: Hold) -> tuple[datetime, datetime | None]:
    start = claim.start if hold.since is None else max(claim.start, hold.since)
    end = claim.end
    for close in (claim.closed_at, hold.until):
        if close is not None and (end is None or close < end):
            end = close
    return start, end if end is None else max(start, end)


MODEL = ReadModel(
    name="claims",
    version=2,
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
                stranded="boolean",
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
                        account="text",
                        amount="bigint",
                        from_="timestamptz",
                        to_="timestamptz",
                        live="boolean",
                    ),
                    key=3,
                    rows=_allocations,
                    indices=(
                        "(provider, claim)",
                        "(project)",
                        "(account)",
                        "(claim) WHERE ordinal > 0",
                    ),
                ),
            ),
            indices=(
                "(project, created_seq, key)",
                "(status, created_seq, key)",
                "(due_at, key) WHERE due_at IS NOT NULL",
                "(created_seq, key) WHERE stranded",
            ),
        ),
        stream_table("quota", "quota"),
    ),
)
