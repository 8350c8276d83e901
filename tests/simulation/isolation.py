"""What two tenants are told of one log: all of their own, and nothing of the other's."""

from typing import Any

import msgspec

from mulligan.handlers.claim import MakeClaim
from mulligan.model import ProjectId
from mulligan.services.log.log_views import ProjectLog


async def read_as_tenants(world: Any) -> None:
    """Read the whole log as each tenant does; note what it must not see, or should."""
    commits = [commit for stored in world.entries() for commit in stored.entry.commits]
    owned = {name: _marks(world, name) for name in world.tenants}
    for name in world.tenants:
        reader = ProjectLog(world.processes[0].commands, ProjectId(name))
        await reader.learn(commits)
        seen = [found for commit in commits if (found := reader.seen(commit)) is not None]
        text = msgspec.json.encode(seen).decode()
        for other, marks in owned.items():
            leaked = [mark for mark in marks if mark in text]
            if other != name and leaked:
                world.disk.violations.append(f"{name} is told of {other}: {leaked[:3]}")
        told = {commit.id for commit in seen}
        missing = _made(world, name) - told
        if missing:
            world.disk.violations.append(f"{name} is not told of its own {sorted(missing)[:3]}")


def _marks(world: Any, project: str) -> list[str]:
    """Return what only the tenant itself may be told of: its claims, account and sessions."""
    account = f"of-{project}"
    sessions = [
        asked.command.session
        for asked in world.history
        if asked.who == f"tenant-{project}" and hasattr(asked.command, "session")
    ]
    return [f'"{project}"', account, *sessions, *sorted(_made(world, project))]


def _made(world: Any, project: str) -> set[str]:
    return {
        asked.id
        for asked in world.history
        if asked.result == "acked"
        and isinstance(asked.command, MakeClaim)
        and asked.command.project == project
    }
