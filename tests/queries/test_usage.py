"""Sums of use against plain loops over claims, and the baseline of a quota."""

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from mulligan.config import Dsn
from mulligan.handlers import project as project_commands
from mulligan.handlers import quota, usage
from mulligan.handlers.account import Project
from mulligan.handlers.claim import LIVE, Claim, Hold
from mulligan.handlers.group import Group
from mulligan.handlers.quota import Quota
from mulligan.model import ProjectId, ResourceClass, StreamId
from mulligan.queries.usage import baseline, project_tree, summarize
from tests.projections.histories import START, World, history
from tests.queries.fleets import of
from tests.queries.test_fleet import reading


def windows(claim: Claim) -> list[tuple[Hold, datetime, datetime | None]]:
    """When each hold of a claim really was."""
    found = []
    for hold in claim.allocations:
        start = max(claim.start, hold.since or claim.start)
        ends = [t for t in (claim.end, claim.closed_at, hold.until) if t is not None]
        found.append((hold, start, min(ends) if ends else None))
    return found


def summed(
    world: World, start: datetime, end: datetime, keys: Callable[[Claim, Hold, str], list[str]]
) -> dict[tuple[str, str], tuple[float, int, int]]:
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    use: dict[tuple[str, str], usage.Use] = defaultdict(tuple)
    claims: dict[tuple[str, str], set[str]] = defaultdict(set)
    for claim in of(world, Claim):
        for hold, since, until in windows(claim):
            first, last = max(since, start), min(until or end, end)
            if first >= last:
                continue
            for class_, amount in hold.amounts.items():
                for key in keys(claim, hold, class_):
                    at = key, str(class_)
                    seconds[at] += amount * (last - first).total_seconds()
                    use[at] = usage.add(use[at], first, last, amount)
                    claims[at].add(claim.id)
    return {k: (seconds[k], usage.peak(use[k], start, end), len(claims[k])) for k in seconds}


@pytest.mark.parametrize("by", ["project", "account", "provider", "group", "class"])
async def test_use_is_summed_as_a_loop_sums_it(by: str, database: Dsn) -> None:
    world = history(50, steps=300)
    groups = of(world, Group)
    keys: dict[str, Callable[[Claim, Hold, str], list[str]]] = {
        "project": lambda claim, hold, class_: [claim.project],
        "account": lambda claim, hold, class_: [claim.account],
        "provider": lambda claim, hold, class_: [hold.provider],
        "group": lambda claim, hold, class_: [g.id for g in groups if hold.provider in g.members],
        "class": lambda claim, hold, class_: [class_],
    }
    async with reading(world, database) as reads:
        for hours in (0, 5, 40):
            start = START + timedelta(hours=hours)
            end = start + timedelta(hours=30)
            rows = await summarize(reads, start, end, by=by)
            found = {(r.key, str(r.class_)): (r.unit_seconds, r.peak, r.claims) for r in rows}
            assert found == summed(world, start, end, keys[by])
            assert [r.unit_seconds for r in rows] == sorted(
                (r.unit_seconds for r in rows), reverse=True
            )
            assert len(await summarize(reads, start, end, by=by, limit=1)) == min(len(rows), 1)


async def test_filters_leave_only_what_they_name_and_rows_have_names(database: Dsn) -> None:
    world = history(51, steps=300)
    start, end = START, START + timedelta(days=30)
    some = of(world, Claim)[0]
    group = max(of(world, Group), key=lambda g: len(g.members))
    projects = {p.id: p.name for p in of(world, Project)}
    async with reading(world, database) as reads:
        rows = await summarize(reads, start, end, by="project", project=some.project)
        assert {(r.key, r.name) for r in rows} == {(some.project, projects[some.project])}
        provider = some.allocations[0].provider
        mine = await summarize(reads, start, end, by="provider", provider=provider)
        assert {r.key for r in mine} == {provider}
        assert all(r.name for r in mine)
        members = await summarize(reads, start, end, by="provider", group=group.id)
        assert {r.key for r in members} <= {*group.members}
        alone = await summarize(reads, start, end, by="group", group=group.id)
        assert {(r.key, r.name) for r in alone} <= {(group.id, group.name)}
        memory = await summarize(reads, start, end, by="class", class_="memory")
        assert [(r.key, r.name) for r in memory] == [("memory", "memory")]
        assert not await summarize(reads, start, end, by="class", account="nobody")


async def test_baseline_and_what_is_tracked_are_together_all_that_is_in_use(database: Dsn) -> None:
    world = history(52, steps=150)
    project = of(world, Claim)[-1].project
    child = ProjectId(world.id())
    world.do(project_commands.CreateProject(project=child, name="below", parent=project))
    world.do(quota.TrackQuota(project=project))
    world.flush()
    async with reading(world, database) as reads:
        tree = await project_tree(reads, project)
        assert list(tree) == [project, child]
        levels = await baseline(reads, tree)
        held: dict[ResourceClass, usage.Use] = {}
        for claim in of(world, Claim):
            if claim.project in tree and claim.state in LIVE:
                for hold, since, until in windows(claim):
                    if hold.until is None and (until is None or until > since):
                        held = usage.changed(held, hold.amounts, since, until, 1, START)
        assert {c: [(s.start, s.end, s.used) for s in use] for c, use in held.items()} == {
            c: [(s.start, s.end, s.used) for s in use] for c, use in levels.items()
        }
        assert held
        late = START + timedelta(hours=20)
        for class_, lasting in (await baseline(reads, tree, late)).items():
            assert all(level.start >= late for level in lasting)
            for hours in range(20, 60):
                at = START + timedelta(hours=hours)
                moment = at, at + timedelta.resolution
                left = tuple(usage.Segment(s.start, s.end, s.used) for s in lasting)
                assert usage.peak(left, *moment) == usage.peak(held[class_], *moment)
    command = quota.SetQuota(project=project, limits={}, baseline=levels)
    world.do(command)
    state: Quota = world.states[StreamId(f"quota/{project}")]
    assert state.baselined
