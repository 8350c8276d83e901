"""mulligan-resource: providers, inventories, groups, and the use of them."""

from collections.abc import Mapping, Sequence

from mulligan.commands.runner import Commands
from mulligan.errors import InvalidArgument, NotFound
from mulligan.handlers import distance, provider_commands
from mulligan.handlers import group as groups
from mulligan.handlers import provider as providers
from mulligan.handlers.capabilities import STANDARD
from mulligan.handlers.decision import Command
from mulligan.handlers.distance import DistanceType
from mulligan.handlers.group import Group
from mulligan.handlers.usage import Use
from mulligan.model import GroupId, ProviderId, ResourceClass, stream_id
from mulligan.proto import v1
from mulligan.queries import providers as queries
from mulligan.queries.capabilities import list_capabilities
from mulligan.queries.holdings import held_members, own_use
from mulligan.services import parse, render
from mulligan.services.dry_runs import DryRuns
from mulligan.services.gate import visibility
from mulligan.services.gate.caller import request_of
from mulligan.services.iam.quotas import Quotas
from mulligan.services.metrics.fleet import ResourceMetrics
from mulligan.services.objects import fetch, identify, identify_all
from mulligan.services.reading import page_of, wait_for
from mulligan.services.resource.claim_changes import ClaimChanges
from mulligan.services.resource.placing import Placing
from mulligan.services.resource.planning import Planning
from mulligan.services.resource.searching import SharedSearches
from mulligan.services.runtime import Runtime

UPDATABLE = frozenset(
    {"attributes", "inventories", "capabilities", "shares", "distances", "turnaround", "parent"}
)
MAX_MEMBERS_AT_ONCE = 10_000


class Resource(DryRuns, Placing, ClaimChanges, Planning, Quotas, v1.ResourceBase):
    """``mulligan.v1.Resource``; claims, what becomes of them, plans and quotas are elsewhere."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        self._searches = SharedSearches(lambda: runtime.in_flight())
        self.metrics = ResourceMetrics()
        self._searches.on_search = self.metrics.searched

    @property
    def _commands(self) -> Commands:
        return self._rt.parts.commands

    async def create_provider(self, message: v1.CreateProviderRequest) -> v1.ProviderResponse:
        """Add a provider to the tree."""
        request = request_of(message)
        command = provider_commands.CreateProvider(
            provider=ProviderId(request.id),
            name=message.name,
            type=message.type,
            parent=await self._parent(message.parent),
            attributes=parse.attributes(message.attributes),
            inventories=parse.inventories(message.inventories),
            capabilities=parse.capabilities(message.capabilities),
            shares=await self._shares(message.shares),
            distances=await self._distances(message.distances),
            turnaround=parse.seconds(message.turnaround, "turnaround"),
        )
        await self._commands.execute(command, request)
        return await self._provider_response(request.id)

    async def get_provider(self, message: v1.GetProviderRequest) -> v1.ProviderResponse:
        """Return one provider with the groups it is in; to a tenant, since it holds it."""
        await wait_for(self._rt, message.freshness, "providers")
        uuid = await self._provider(message.provider)
        await visibility.require_held(self._rt, uuid, message.provider)
        groups = await queries.groups_of(self._rt.parts.database, uuid)
        return await self._provider_response(uuid, groups)

    async def list_providers(self, message: v1.ListProvidersRequest) -> v1.ListProvidersResponse:
        """List the providers that the caller may see, by age."""
        position = await wait_for(self._rt, message.freshness, "providers", "claims")
        wanted = queries.ProviderFilter(
            type=_type(message.type, "type"),
            parent=await self._provider(message.parent, "parent") if message.parent else None,
            group=await self._group(message.group) if message.group else None,
            above=_type(message.above, "above"),
            holder=visibility.holder(),
        )
        database, asked = self._rt.parts.database, page_of(self._rt, message.page)
        if message.view == v1.ProviderView.BASIC:
            briefs = await queries.list_briefs(database, asked, wanted)
            return v1.ListProvidersResponse(
                providers=[render.provider_brief(one, self._rt.region) for one in briefs.items],
                next_page_token=briefs.next_token,
                position=position,
            )
        now = self._commands.now()
        page = await queries.list_providers(database, asked, wanted, now)
        rows = [visibility.provider_seen(row, row.state.use) for row in page.items]
        found = [render.provider(row, self._rt.region, row.groups, now) for row in rows]
        return v1.ListProvidersResponse(
            providers=found, next_page_token=page.next_token, position=position
        )

    async def update_provider(self, message: v1.UpdateProviderRequest) -> v1.ProviderResponse:
        """Replace what the mask names."""
        request = request_of(message)
        uuid = await self._provider(message.provider)
        mask = set(message.update_mask)
        if not mask or mask - UPDATABLE:
            raise InvalidArgument("update_mask", f"name some of {', '.join(sorted(UPDATABLE))}")
        command = provider_commands.UpdateProvider(
            provider=ProviderId(uuid),
            attributes=parse.attributes(message.attributes) if "attributes" in mask else None,
            inventories=parse.inventories(message.inventories) if "inventories" in mask else None,
            capabilities=(
                parse.capabilities(message.capabilities) if "capabilities" in mask else None
            ),
            shares=await self._shares(message.shares) if "shares" in mask else None,
            distances=await self._distances(message.distances) if "distances" in mask else None,
            turnaround=(
                parse.seconds(message.turnaround, "turnaround") if "turnaround" in mask else None
            ),
            parent=await self._parent(message.parent) if "parent" in mask else None,
        )
        versions = {stream_id("provider", uuid): parse.version(message.etag)}
        await self._commands.execute(command, request, versions=versions)
        return await self._provider_response(uuid)

    async def delete_provider(self, message: v1.DeleteProviderRequest) -> v1.PositionResponse:
        """Remove a provider that nothing depends on."""
        request = request_of(message)
        uuid = await self._provider(message.provider)
        command = provider_commands.DeleteProvider(provider=ProviderId(uuid))
        versions = {stream_id("provider", uuid): parse.version(message.etag)}
        outcome = await self._commands.execute(command, request, versions=versions)
        return v1.PositionResponse(position=render.position(outcome.position))

    async def cordon_provider(self, message: v1.CordonProviderRequest) -> v1.ProviderResponse:
        """Keep new claims away."""
        uuid = await self._provider(message.provider)
        command = provider_commands.CordonProvider(
            provider=ProviderId(uuid), note=message.note[:1024], failed=message.failed
        )
        return await self._change_provider(message, command, uuid)

    async def uncordon_provider(self, message: v1.UncordonProviderRequest) -> v1.ProviderResponse:
        """Let claims come again."""
        uuid = await self._provider(message.provider)
        command = provider_commands.UncordonProvider(provider=ProviderId(uuid))
        return await self._change_provider(message, command, uuid)

    async def _change_provider(
        self,
        message: v1.CordonProviderRequest | v1.UncordonProviderRequest,
        command: Command,
        uuid: str,
    ) -> v1.ProviderResponse:
        await self._commands.execute(command, request_of(message))
        return await self._provider_response(uuid)

    async def create_group(self, message: v1.CreateGroupRequest) -> v1.GroupResponse:
        """Make an empty group."""
        request = request_of(message)
        command = groups.CreateGroup(
            group=GroupId(request.id),
            name=message.name,
            attributes=parse.attributes(message.attributes),
        )
        await self._commands.execute(command, request)
        return await self._group_response(request.id)

    async def get_group(self, message: v1.GetGroupRequest) -> v1.GroupResponse:
        """Return one group; to a tenant, with those of its members that it holds."""
        await wait_for(self._rt, message.freshness, "providers", "claims")
        return await self._group_response(await self._group(message.group))

    async def list_groups(self, message: v1.ListGroupsRequest) -> v1.ListGroupsResponse:
        """List groups by age."""
        position = await wait_for(self._rt, message.freshness, "providers", "claims")
        page = await queries.list_groups(self._rt.parts.database, page_of(self._rt, message.page))
        held = await self._held_members([row.state.id for row in page.items])
        seen = [visibility.group_seen(row, held.get(row.state.id, ())) for row in page.items]
        found = [render.group(row, self._rt.region) for row in seen]
        return v1.ListGroupsResponse(
            groups=found, next_page_token=page.next_token, position=position
        )

    async def update_group_members(self, message: v1.UpdateGroupMembersRequest) -> v1.GroupResponse:
        """Add and remove providers."""
        request = request_of(message)
        uuid = await self._group(message.group)
        if len(message.add) + len(message.remove) > MAX_MEMBERS_AT_ONCE:
            raise InvalidArgument("add", f"at most {MAX_MEMBERS_AT_ONCE} members at once")
        add = await identify_all(self._commands, "provider", message.add, "add")
        remove = await identify_all(self._commands, "provider", message.remove, "remove")
        command = groups.UpdateMembers(
            group=GroupId(uuid),
            add=tuple(ProviderId(p) for p in add),
            remove=tuple(ProviderId(p) for p in remove),
        )
        await self._commands.execute(command, request)
        return await self._group_response(uuid)

    async def delete_group(self, message: v1.DeleteGroupRequest) -> v1.PositionResponse:
        """Forget a group; its members are not touched."""
        request = request_of(message)
        uuid = await self._group(message.group)
        outcome = await self._commands.execute(groups.DeleteGroup(group=GroupId(uuid)), request)
        return v1.PositionResponse(position=render.position(outcome.position))

    async def create_distance_type(
        self, message: v1.CreateDistanceTypeRequest
    ) -> v1.DistanceTypeResponse:
        """Define a kind of distance."""
        positions = tuple(message.positions)
        command = distance.CreateDistanceType(name=message.name, positions=positions)
        return await self._change_distance_type(message, command, message.name)

    async def extend_distance_type(
        self, message: v1.ExtendDistanceTypeRequest
    ) -> v1.DistanceTypeResponse:
        """Add positions to a kind of distance."""
        positions = tuple(message.positions)
        command = distance.ExtendDistanceType(name=message.name, positions=positions)
        return await self._change_distance_type(message, command, message.name)

    async def _change_distance_type(
        self,
        message: v1.CreateDistanceTypeRequest | v1.ExtendDistanceTypeRequest,
        command: Command,
        name: str,
    ) -> v1.DistanceTypeResponse:
        distance.check_word(name, "name")
        await self._commands.execute(command, request_of(message))
        state: DistanceType = (await fetch(self._commands, "distance", name)).state
        return v1.DistanceTypeResponse(
            distance_type=_distance_type(state),
            position=render.position(self._commands.position()),
        )

    async def list_distance_types(
        self, message: v1.ListDistanceTypesRequest
    ) -> v1.ListDistanceTypesResponse:
        """List the kinds of distance."""
        position = await wait_for(self._rt, message.freshness, "providers")
        page = await queries.list_distance_types(
            self._rt.parts.database, page_of(self._rt, message.page)
        )
        return v1.ListDistanceTypesResponse(
            distance_types=[_distance_type(row.state) for row in page.items],
            next_page_token=page.next_token,
            position=position,
        )

    async def list_capabilities(
        self, message: v1.ListCapabilitiesRequest
    ) -> v1.ListCapabilitiesResponse:
        """List the standard catalogue, and what providers have."""
        position = await wait_for(self._rt, message.freshness, "providers")
        rows = await list_capabilities(self._rt.parts.database, message.prefix)
        found = {row.capability: row.providers for row in rows}
        known = {c for c in STANDARD if c.startswith(message.prefix) and not message.used}
        return v1.ListCapabilitiesResponse(
            capabilities=[
                v1.Capability(
                    name=name,
                    description=STANDARD.get(name, ""),
                    standard=name in STANDARD,
                    providers=found.get(name, 0) if visibility.sees_all() else 0,
                )
                for name in sorted(known | found.keys())
            ],
            position=position,
        )

    async def list_usage(self, message: v1.ListUsageRequest) -> v1.ListUsageResponse:
        """Return what is in use from now on, by class and time; to a tenant, what it uses."""
        uuid = await self._provider(message.provider)
        start, end = parse.window(message.window)
        await visibility.require_held(self._rt, uuid, message.provider)
        known = await fetch(self._commands, "provider", uuid)
        state: providers.Provider = visibility.provider_seen(known, await self._own_use(uuid)).state
        segments = [
            v1.UsageSegment(
                resource_class=class_,
                window=v1.Window(start=s.start, end=s.end),
                used=s.used,
            )
            for class_, use in sorted(state.use.items())
            for s in use
            if (end is None or s.start < end) and (start is None or s.end is None or s.end > start)
        ]
        return v1.ListUsageResponse(
            segments=segments, position=render.position(self._commands.position())
        )

    async def resource_configure(self, message: v1.ConfigureRequest) -> v1.ConfigureResponse:
        """Change settings of this process."""
        return self._rt.settings.configure(message)

    async def _provider(self, text: str, field: str = "provider") -> str:
        return await identify(self._commands, "provider", text, field)

    async def _group(self, text: str) -> str:
        return await identify(self._commands, "group", text, "group")

    async def _parent(self, text: str) -> ProviderId:
        """Find a parent; one of another region is unknown here and named as the field."""
        if not text:
            return ProviderId("")
        try:
            return ProviderId(await identify(self._commands, "provider", text, "parent"))
        except NotFound as error:
            raise InvalidArgument(
                "parent",
                f"there is no provider {text!r} in this region; a parent is in the same one",
            ) from error

    async def _shares(self, names: list[str]) -> tuple[GroupId, ...]:
        found = await identify_all(self._commands, "group", names, "shares")
        return tuple(sorted({GroupId(group) for group in found}))

    async def _distances(self, messages: list[v1.Distance]) -> dict[str, dict[GroupId, str]]:
        names = [message.group for message in messages]
        groups = await identify_all(self._commands, "group", names, "distances.group")
        found: dict[str, dict[GroupId, str]] = {}
        for number, (message, group) in enumerate(zip(messages, groups, strict=True)):
            distance.check_word(message.type, f"distances[{number}].type")
            to = found.setdefault(message.type, {})
            if GroupId(group) in to:
                raise InvalidArgument(
                    f"distances[{number}].group", f"{message.group!r} is given twice"
                )
            to[GroupId(group)] = message.position
        return {type_: dict(sorted(to.items())) for type_, to in sorted(found.items())}

    async def _provider_response(
        self, uuid: str, groups: Sequence[str] = ()
    ) -> v1.ProviderResponse:
        known = await fetch(self._commands, "provider", uuid)
        seen = visibility.provider_seen(known, await self._own_use(uuid))
        provider = render.provider(seen, self._rt.region, groups, self._commands.now())
        position = render.position(self._commands.position())
        return v1.ProviderResponse(provider=provider, position=position)

    async def _own_use(self, uuid: str) -> Mapping[ResourceClass, Use]:
        project = visibility.holder()
        if project is None:
            return {}
        return (await own_use(self._rt.parts.database, project, [uuid])).get(ProviderId(uuid), {})

    async def _held_members(self, uuids: Sequence[str]) -> Mapping[GroupId, Sequence[ProviderId]]:
        project = visibility.holder()
        if project is None:
            return {}
        return await held_members(self._rt.parts.database, project, uuids)

    async def _group_response(self, uuid: str) -> v1.GroupResponse:
        known = await fetch(self._commands, "group", uuid)
        state: Group = known.state
        assert state.id == uuid
        held = (await self._held_members([uuid])).get(GroupId(uuid), ())
        group = render.group(visibility.group_seen(known, held), self._rt.region)
        return v1.GroupResponse(group=group, position=render.position(self._commands.position()))


def _distance_type(state: DistanceType) -> v1.DistanceType:
    return v1.DistanceType(name=state.name, positions=list(state.positions))


def _type(text: str, field: str) -> str | None:
    if text and text not in providers.TYPES:
        known = ", ".join(sorted(providers.TYPES))
        raise InvalidArgument(field, f"{text!r} is not one of {known}")
    return text or None
