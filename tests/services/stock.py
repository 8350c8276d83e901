"""Capacity for tests that share one region: each test has a resource class of its own."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from mulligan.proto import v1
from tests.services.edge import Edge

HOUR = timedelta(hours=1)
SECRET = "a-secret-of-a-planner"


def at(hours: float) -> datetime:
    """An instant some hours after the start of 2040, far from what happens now."""
    return datetime(2040, 1, 1, tzinfo=UTC) + hours * HOUR


def names(*values: str) -> v1.StringList:
    return v1.StringList(values=list(values))


def window(start: float, end: float | None = None) -> v1.Span:
    """[start, end) in hours of 2040; without an end it is open."""
    return v1.Span(start=at(start), end=None if end is None else at(end))


def request(*groups: v1.RequestGroup, **more: Any) -> v1.ResourceRequest:
    return v1.ResourceRequest(groups=list(groups), **more)


def ask(amounts: Mapping[str, int], *, count: int = 1, **more: Any) -> v1.RequestGroup:
    return v1.RequestGroup(resources=dict(amounts), count=count, **more)


class Caller(NamedTuple):
    """Somebody with a token, of a project unless an operator."""

    edge: Edge
    token: str
    project: str = ""

    async def call(self, method: str, message: Any, **more: Any) -> Any:
        """Call ``method_name`` of the resource service."""
        return await self.edge.call(f"resource.{method}", message, self.token, **more)

    async def make(self, asked: v1.ResourceRequest, **more: Any) -> v1.Claim:
        """Make a claim by search."""
        answer = await self.call("make_claim", v1.MakeClaimRequest(request=asked, **more))
        made: v1.Claim = answer.claim
        return made

    async def exact(
        self, *at: tuple[str, Mapping[str, int]], window: v1.Window | None = None, **more: Any
    ) -> v1.Claim:
        """Make a claim on named providers."""
        allocations = [v1.Allocation(provider=p, amounts=dict(amounts)) for p, amounts in at]
        message = v1.ClaimExactRequest(allocations=allocations, window=window, **more)
        made: v1.Claim = (await self.call("claim_exact", message)).claim
        return made

    async def claim(self, key: str) -> v1.Claim:
        """Read a claim."""
        found: v1.Claim = (await self.call("get_claim", v1.GetClaimRequest(claim=key))).claim
        return found

    async def release(self, *claims: v1.Claim) -> None:
        """Give claims back."""
        for claim in claims:
            await self.call("release_claim", v1.ReleaseClaimRequest(claim=claim.uuid))


class Stock(Caller):
    """An operator, who makes what is claimed."""

    async def provider(
        self, name: str, offered: Mapping[str, int] | None = None, **more: Any
    ) -> str:
        """Make a provider and return its UUID."""
        inventories = [
            v1.Inventory(resource_class=class_, total=total)
            for class_, total in (offered or {}).items()
        ]
        message = v1.CreateProviderRequest(
            **{"name": name, "type": "compute", "inventories": inventories, **more}
        )
        return str((await self.call("create_provider", message)).provider.uuid)

    async def providers(self, prefix: str, number: int, offered: Mapping[str, int]) -> list[str]:
        """Make as many alike, named prefix-0 and so on, that are all there to be found."""
        made = [await self.provider(f"{prefix}-{n}", offered) for n in range(number)]
        await self.known()
        return made

    async def group(self, name: str, *members: str) -> str:
        """Make a group and return its UUID."""
        made = await self.call("create_group", v1.CreateGroupRequest(name=name))
        if members:
            joining = v1.UpdateGroupMembersRequest(group=name, add=list(members))
            await self.call("update_group_members", joining)
        return str(made.group.uuid)

    async def update(self, provider: str, **changes: Any) -> v1.Provider:
        """Replace what is given of a provider."""
        message = v1.UpdateProviderRequest(provider=provider, update_mask=list(changes), **changes)
        updated: v1.Provider = (await self.call("update_provider", message)).provider
        return updated

    async def cordon(self, provider: str, **more: Any) -> None:
        """Close a provider."""
        await self.call("cordon_provider", v1.CordonProviderRequest(provider=provider, **more))

    async def head(self) -> v1.Position:
        """Return where the log stands."""
        status = await self.edge.call("log.get_log_status", v1.GetLogStatusRequest(), self.token)
        position: v1.Position = status.head
        return position

    async def known(self) -> v1.Freshness:
        """Return when searches know of all that has been done, as what a read may ask for."""
        fresh = v1.Freshness(at_least=await self.head())
        await self.call("list_providers", v1.ListProvidersRequest(freshness=fresh))
        await self.call("list_claims", v1.ListClaimsRequest(freshness=fresh))
        return fresh

    async def operator(self, project: str) -> Caller:
        """Return who makes what is claimed, in a project that there is: it sees all."""
        found = await self.edge.call(
            "iam.get_project", v1.GetProjectRequest(project=project), self.token
        )
        return Caller(self.edge, await self.edge.admin(project), found.project.uuid)

    async def tenant(self, project: str, parent: str = "") -> Caller:
        """Make a project, and return a member of it."""
        made = v1.CreateProjectRequest(name=project, parent=parent)
        found = await self.edge.call("iam.create_project", made, self.token)
        account = f"planner-{project}"
        created = v1.CreateAccountRequest(name=account, secret=SECRET)
        await self.edge.call("iam.create_account", created, self.token)
        binding = v1.RoleBinding(role="member", project=project)
        bound = v1.BindRoleRequest(account=account, binding=binding)
        await self.edge.call("iam.bind_role", bound, self.token)
        token = await self.edge.token(account, SECRET, project)
        return Caller(self.edge, token, found.project.uuid)


def holds(claim: v1.Claim | v1.Candidate) -> list[str]:
    """Return the names of the providers that a claim or candidate holds, in order."""
    return sorted(a.provider_name for a in claim.allocations if a.until is None)
