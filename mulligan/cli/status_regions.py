"""``mulligan status --regions``: one line a region, and what is wrong where."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mulligan.cli.across import DEADLINE_S, ask_regions
from mulligan.cli.output import Column
from mulligan.cli.verbs import Session
from mulligan.diagnosis.problem import Problem, critical

if TYPE_CHECKING:
    from mulligan.client.client import Client
    from mulligan.diagnosis.found import Status


@dataclass(frozen=True)
class RegionStatus:
    """How a region fares: ``state`` is well, warning, critical or away."""

    region: str
    state: str
    services: int
    head: int
    machines_in_trouble: int
    problems: list[Problem]


COLUMNS = (
    Column("REGION", lambda one: one.region),
    Column("STATE", lambda one: one.state),
    Column("SERVICES", lambda one: str(one.services or "")),
    Column("HEAD", lambda one: str(one.head or "")),
    Column("IN TROUBLE", lambda one: str(one.machines_in_trouble or "")),
    Column("WORST PROBLEM", lambda one: worst(one.problems)),
)


async def status_of_regions(session: Session, text: str) -> list[Problem]:
    """Print how each of the regions fares; return all that is wrong. One that is away is one."""
    from mulligan.cli.status import looked_at

    session.haste = True

    async def ask(client: "Client") -> "Status":
        one = Session(session.common, session.out)
        one.use(client)
        return await looked_at(one)

    outcomes = await ask_regions(session, text, ask, DEADLINE_S)
    rows = []
    for one in outcomes:
        if one.value is not None:
            rows.append(row_of(one.region, one.value))
        elif one.error is not None:
            what = f"region {one.region} does not answer: {one.error.message}"
            then = f"look on its hosts; mulligan --context {one.region} status"
            away = [critical(one.region, what, then)]
            rows.append(RegionStatus(one.region, "away", 0, 0, 0, away))
    session.out.rows(rows, COLUMNS)
    return [problem for row in rows for problem in row.problems]


def row_of(region: str, found: "Status") -> RegionStatus:
    """Return the line of a region that answered."""
    state = str(found.problems[0].severity) if found.problems else "well"
    services = len({endpoint.service for endpoint in found.services})
    return RegionStatus(region, state, services, found.head, len(found.machines), found.problems)


def worst(problems: list[Problem]) -> str:
    """Return the first problem, and how many more there are."""
    if not problems:
        return ""
    more = f" (+{len(problems) - 1} more)" if len(problems) > 1 else ""
    return problems[0].what + more
