"""The calls of mulligan-log that tell who did what, and who was denied what.

Operators and auditors see all of it. Tenants see what was done in their own project; its owners
see also what was denied there.
"""

from collections.abc import Iterable

from mulligan.errors import InvalidArgument, NotFound
from mulligan.handlers.account import Project
from mulligan.model import StreamId, is_uuid, stream_id
from mulligan.proto import v1
from mulligan.queries.trail import RecordRow, Wanted, list_records
from mulligan.services.gate import visibility
from mulligan.services.gate.caller import caller
from mulligan.services.log.log_views import ProjectLog
from mulligan.services.objects import identify
from mulligan.services.reading import page_of, wait_for
from mulligan.services.runtime import Runtime

OUTCOMES = {"": None, "done": False, "denied": True}


class AuditCalls:
    """The part of ``mulligan.v1.Log`` that is the audit."""

    _rt: Runtime

    async def list_audit(self, message: v1.ListAuditRequest) -> v1.ListAuditResponse:
        """List what was done and denied, by time."""
        page = page_of(self._rt, message.page)
        wanted = await self._wanted(message)
        position = await wait_for(self._rt, message.freshness, "commands")
        if wanted is None:
            return v1.ListAuditResponse(position=position)
        found = await list_records(self._rt.parts.database, wanted, page)
        seen = await self._seen(found.items)
        return v1.ListAuditResponse(
            records=[self._audited(row, seen) for row in found.items],
            next_page_token=found.next_token,
            position=position,
        )

    async def _wanted(self, message: v1.ListAuditRequest) -> Wanted | None:
        """Return what to look for; None when the caller may see nothing of it."""
        if message.outcome not in OUTCOMES:
            raise InvalidArgument("outcome", f"{message.outcome!r} is neither done nor denied")
        denied = OUTCOMES[message.outcome]
        since, until = message.from_, message.to
        if since is not None and until is not None and since >= until:
            raise InvalidArgument("to", "does not lie after from")
        project = visibility.holder()
        if project is None:
            account = await self._account(message.account)
            project_wanted = await self._project(message.project)
        else:
            account = _tenants_account(message.account)
            await self._require_own(project, message.project)
            project_wanted = project
            if not project or ("owner" not in caller().roles and denied):
                return None
            if "owner" not in caller().roles:
                denied = False
        return Wanted(
            account=account,
            project=project_wanted,
            since=since,
            until=until,
            denied=denied,
            command=message.command,
            oldest_first=message.oldest_first,
        )

    async def _account(self, text: str) -> str:
        if not text or text.startswith("service:"):
            return text
        return await identify(self._rt.parts.commands, "account", text, "account")

    async def _project(self, text: str) -> str:
        if not text:
            return ""
        return await identify(self._rt.parts.commands, "project", text, "project")

    async def _require_own(self, project: str, text: str) -> None:
        """Raise NotFound for any project but the tenant's own, whether it is there or not."""
        if text in ("", project):
            return
        state: Project | None = (
            await self._rt.parts.commands.state(stream_id("project", project))
        ).state
        if state is None or state.name != text:
            raise NotFound("project", text)

    async def _seen(self, rows: Iterable[RecordRow]) -> frozenset[StreamId] | None:
        """Return which objects a tenant may read of; None for all of them.

        An operator who acts in the name of a project may touch what is not that project's.
        """
        project = visibility.holder()
        if project is None:
            return None
        objects = (StreamId(one) for row in rows for one in row.objects)
        return await ProjectLog(self._rt.parts.commands, project).own(objects)

    def _audited(self, row: RecordRow, seen: frozenset[StreamId] | None) -> v1.AuditRecord:
        return v1.AuditRecord(
            at=row.at,
            position=v1.Position(region=self._rt.region, seq=row.seq),
            outcome="denied" if row.count else "done",
            account=row.account,
            project=row.project,
            credential=row.credential,
            command=row.command,
            commit=row.commit,
            objects=[one for one in row.objects if seen is None or one in seen],
            reason=row.reason,
            permission=row.permission,
            peer=row.peer,
            count=row.count,
            traceparent=row.traceparent,
        )


def _tenants_account(text: str) -> str:
    """Return a UUID; tenants cannot look names of accounts up, for that would tell which exist."""
    if not text or is_uuid(text) or text.startswith("service:"):
        return text
    raise InvalidArgument("account", "give its UUID, which `mulligan whoami` shows")
