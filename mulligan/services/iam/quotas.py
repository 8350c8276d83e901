"""Quotas of projects, and what was, is and will be used."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from mulligan.commands.states import Known
from mulligan.errors import InvalidArgument, NotFound
from mulligan.handlers import quota as quotas
from mulligan.handlers import usage
from mulligan.handlers.account import Project
from mulligan.handlers.quota import Quota
from mulligan.model import CommitId, ProjectId, ResourceClass, StreamId, is_uuid, stream_id
from mulligan.proto import v1
from mulligan.queries.freshness import wait_until
from mulligan.queries.quotas import list_quotas
from mulligan.queries.usage import baseline, project_tree, summarize
from mulligan.services import parse, render
from mulligan.services.gate import visibility
from mulligan.services.gate.caller import caller, request_of
from mulligan.services.objects import fetch, identify
from mulligan.services.reading import page_of, wait_for
from mulligan.services.resource.claim_views import ClaimViews
from mulligan.trial import is_trial

BY = ("project", "account", "provider", "group", "class")
MAX_ROWS = 1000
_LOOK_BACK = timedelta(days=30)


class Quotas(ClaimViews):
    """What projects may use, and do use."""

    async def set_quota(self, message: v1.SetQuotaRequest) -> v1.QuotaResponse:
        """Replace a project's limits; the first time, count what its tree uses already."""
        request = request_of(message)
        project = ProjectId(await identify(self._commands, "project", message.project, "project"))
        await fetch(self._commands, "project", project)
        limits = {ResourceClass(class_): limit for class_, limit in sorted(message.limits.items())}
        max_lease = None
        if message.max_lease is not None:
            max_lease = parse.seconds(message.max_lease, "max_lease")
        quotas.check_limits(limits, max_lease)
        begin = quotas.TrackQuota(project=project)
        command = quotas.SetQuota(project=project, limits=limits, max_lease=max_lease)
        stream = stream_id("quota", project)
        state: Quota | None = (await self._commands.state(stream)).state
        if state is None or not state.baselined:
            track = msgspec.structs.replace(request, id=_second_id(request.id))
            if not is_trial():
                await self._commands.execute(begin, track)
            at = self._commands.position().seq
            database = self._rt.parts.database
            await wait_until(database, ("claims", "iam"), at)
            tree = await project_tree(database, project)
            found = await baseline(database, tree, self._commands.now())
            command = msgspec.structs.replace(command, baseline=found)
        versions = {stream: parse.version(message.etag)}
        if is_trial():
            await self._commands.try_out([begin, command], request, versions=versions)
        await self._commands.execute(command, request, versions=versions)
        return await self._quota_response(project)

    async def get_quota(self, message: v1.GetQuotaRequest) -> v1.QuotaResponse:
        """Return a project's limits with its use; those of one's own project when none is named."""
        who = caller()
        project = who.project
        if message.project:
            found = await identify(self._commands, "project", message.project, "project")
            project = ProjectId(found)
        elif not project:
            raise InvalidArgument("project", "name a project")
        if not await visibility.reaches(self._commands, project):
            raise NotFound("project", message.project or project)
        return await self._quota_response(project)

    async def list_quotas(self, message: v1.ListQuotasRequest) -> v1.ListQuotasResponse:
        """List the quotas the caller may see: a tenant, those of its project and below."""
        position = await wait_for(self._rt, message.freshness, "claims", "iam")
        database, own = self._rt.parts.database, visibility.holder()
        projects = None if own is None else await project_tree(database, own)
        page = await list_quotas(database, page_of(self._rt, message.page), projects=projects)
        names = await self._project_names([row.state.project for row in page.items])
        now = self._commands.now()
        return v1.ListQuotasResponse(
            quotas=[_quota(row, now, names[row.state.project]) for row in page.items],
            next_page_token=page.next_token,
            position=position,
        )

    async def summarize_usage(self, message: v1.SummarizeUsageRequest) -> v1.SummarizeUsageResponse:
        """Say how much was used in a window, by whom or of what."""
        by = message.by or "project"
        if by not in BY:
            raise InvalidArgument("by", f"{by!r} is not one of {', '.join(BY)}")
        if not 0 <= message.limit <= MAX_ROWS:
            raise InvalidArgument("limit", f"{message.limit} is not between 0 and {MAX_ROWS}")
        position = await wait_for(self._rt, message.freshness, "claims", "providers", "iam")
        start, end = _window(message.window, self._commands.now())
        limit = message.limit or MAX_ROWS
        rows = await summarize(
            self._rt.parts.database,
            start,
            end,
            by=by,
            project=await self._usage_project(message.project),
            account=await self._usage_account(message.account),
            provider=await self._named("provider", message.provider),
            group=await self._named("group", message.group),
            class_=message.resource_class or None,
            limit=limit + 1,
        )
        return v1.SummarizeUsageResponse(
            rows=[
                v1.UsageRow(
                    key=row.key,
                    name=row.name if by != "account" or _may_name(row.key) else "",
                    resource_class=row.class_,
                    unit_hours=row.unit_seconds / 3600,
                    peak=row.peak,
                    claims=row.claims,
                )
                for row in rows[:limit]
            ],
            window=v1.Window(start=start, end=end),
            truncated=len(rows) > limit,
            position=position,
        )

    async def _usage_project(self, text: str) -> str | None:
        own = visibility.holder()
        project = await self._named("project", text)
        if own is not None and project not in (None, own):
            raise NotFound("project", text)
        return project if own is None else own

    async def _usage_account(self, text: str) -> str | None:
        """Return the account meant; a tenant names it by UUID, for names tell who there is."""
        if text and not is_uuid(text) and not visibility.sees_all():
            raise InvalidArgument("account", "give its UUID, as the claims it made show it")
        return await self._named("account", text)

    async def _named(self, kind: str, text: str) -> str | None:
        return await identify(self._commands, kind, text, kind) if text else None

    async def _quota_response(self, project: ProjectId) -> v1.QuotaResponse:
        known = await self._commands.state(stream_id("quota", project))
        names = await self._project_names([project])
        now = self._commands.now()
        return v1.QuotaResponse(
            quota=_quota(known, now, names[project], project),
            position=render.position(self._commands.position()),
        )

    async def _project_names(self, projects: Sequence[ProjectId]) -> dict[ProjectId, str]:
        streams: dict[StreamId, ProjectId] = {stream_id("project", p): p for p in projects}
        known = await self._commands.states(list(streams))
        found: dict[ProjectId, str] = {}
        for stream, project in streams.items():
            state: Project | None = known[stream].state
            found[project] = state.name if state is not None else ""
        return found


def _may_name(account: str) -> bool:
    return visibility.sees_all() or account == caller().account


def _second_id(request: CommitId) -> CommitId:
    """Return the id of the commit that begins the tracking, the same for a repeat."""
    return CommitId(str(uuid.uuid5(uuid.UUID(request), "quota.track")))


def _window(message: v1.Window | None, now: datetime) -> tuple[datetime, datetime]:
    start, end = parse.window(message)
    end = end or now
    try:
        start = start or end - _LOOK_BACK
    except OverflowError:
        start = datetime.min.replace(tzinfo=UTC)
    if end <= start:
        raise InvalidArgument("window.start", "is not ahead of the end, which is now by default")
    return start, end


def _quota(row: Known | render.Versioned, now: datetime, name: str, project: str = "") -> v1.Quota:
    state: Quota | None = row.state
    if state is None:
        return v1.Quota(project=project, project_name=name)
    max_lease = None if state.max_lease is None else timedelta(seconds=state.max_lease)
    return v1.Quota(
        project=state.project,
        project_name=name,
        limits={str(c): n for c, n in sorted(state.limits.items())},
        max_lease=max_lease,
        use=[
            v1.QuotaUse(
                resource_class=class_,
                used=usage.peak(state.use.get(class_, ()), now, now + timedelta.resolution),
                peak=max(usage.peak(state.use.get(class_, ()), now, None), 0),
                limit=state.limits.get(class_, -1),
            )
            for class_ in sorted({*state.limits, *state.use})
        ],
        etag=render.etag(row),
    )
