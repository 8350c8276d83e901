"""Projects: the tree of tenants, and which of them may be used."""

from mulligan.commands.states import Known
from mulligan.errors import FailedPrecondition, NotFound
from mulligan.handlers import project as handlers
from mulligan.handlers.claim import LIVE
from mulligan.handlers.decision import Command
from mulligan.model import ProjectId, stream_id
from mulligan.proto import v1
from mulligan.queries import accounts as queries
from mulligan.queries.claims import list_claims
from mulligan.queries.images import list_user_data
from mulligan.queries.paging import PageRequest
from mulligan.services import render
from mulligan.services.gate.caller import Mutation, caller, request_of
from mulligan.services.iam.iam_objects import IamObjects
from mulligan.services.objects import fetch
from mulligan.services.reading import page_of, wait_for

_ONE = PageRequest(size=1)


class ProjectCalls(IamObjects):
    """The methods over projects."""

    async def create_project(self, message: v1.CreateProjectRequest) -> v1.ProjectResponse:
        """Make a tenant."""
        request = request_of(message)
        parent = ProjectId("")
        if message.parent:
            parent = await self._identify_project(message.parent, "parent")
        command = handlers.CreateProject(
            project=ProjectId(request.id), name=message.name, parent=parent
        )
        await self._commands.execute(command, request)
        return await self._project_response(request.id)

    async def get_project(self, message: v1.GetProjectRequest) -> v1.ProjectResponse:
        """Return one project; owners see theirs and those under it."""
        project = await self._identify_project(message.project)
        if not await self._reaches(project):
            raise NotFound("project", message.project)
        return await self._project_response(project)

    async def list_projects(self, message: v1.ListProjectsRequest) -> v1.ListProjectsResponse:
        """List projects by age; owners see theirs and those under it."""
        who = caller()
        position = await wait_for(self._rt, message.freshness, "iam")
        page = await queries.list_projects(
            self._rt.parts.database,
            page_of(self._rt, message.page),
            below=None if who.is_system else who.require_project(),
        )
        projects = [render.project(row, self._rt.region) for row in page.items]
        return v1.ListProjectsResponse(
            projects=projects, next_page_token=page.next_token, position=position
        )

    async def disable_project(self, message: v1.DisableProjectRequest) -> v1.ProjectResponse:
        """Let nobody use a project, nor those under it, from now on."""
        project = await self._identify_project(message.project)
        command = handlers.SetProjectDisabled(project=project, disabled=True)
        return await self._project_changed(command, message, project)

    async def enable_project(self, message: v1.EnableProjectRequest) -> v1.ProjectResponse:
        """Let a project be used again."""
        project = await self._identify_project(message.project)
        command = handlers.SetProjectDisabled(project=project, disabled=False)
        return await self._project_changed(command, message, project)

    async def delete_project(self, message: v1.DeleteProjectRequest) -> v1.PositionResponse:
        """Delete a disabled project that holds nothing any more.

        What is made in a project reads that it is enabled, so nothing comes after it was looked
        at, unless it was enabled meanwhile: then its version is another.
        """
        request = request_of(message)
        if await self._commands.earlier(request) is None:
            project = await self._identify_project(message.project)
            known = await fetch(self._commands, "project", project)
            handlers.require_disabled(known.state)
            await self._require_empty(known)
            stream = stream_id("project", project)
            command = handlers.DeleteProject(project=project)
            await self._commands.execute(command, request, versions={stream: known.version})
        return v1.PositionResponse(position=self._position())

    async def _require_empty(self, known: Known) -> None:
        """Raise FailedPrecondition for the first kind of thing that the project still holds."""
        database, project = self._rt.parts.database, known.state
        fresh = v1.Freshness(at_least=self._position())
        await wait_for(self._rt, fresh, "iam", "claims", "images")
        claims = await list_claims(database, _ONE, project=project.id, states=sorted(LIVE))
        data = await list_user_data(database, _ONE, project=project.id)
        children = await queries.list_projects(database, _ONE, parent=project.id)
        for page, held in (
            (claims, "claims that have not ended: release them"),
            (data, "user data: delete them"),
            (children, "projects under it: delete those"),
        ):
            if page.items:
                raise FailedPrecondition(f"project {project.name} has {held} first")

    async def _project_changed(
        self, command: Command, message: Mutation, project: ProjectId
    ) -> v1.ProjectResponse:
        await self._commands.execute(command, request_of(message))
        return await self._project_response(project)
