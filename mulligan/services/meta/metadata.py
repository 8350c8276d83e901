"""Tags and attributes of objects: read, changed, searched."""

from collections.abc import Iterable, Mapping
from typing import Any

from mulligan.errors import InvalidArgument, NotFound, PermissionDenied
from mulligan.handlers import metadef as metadefs
from mulligan.handlers.decision import States
from mulligan.handlers.metadata import (
    MAX_ATTRIBUTES,
    MAX_TAGS,
    Metadata,
    UpdateMetadata,
    check_tag,
    metadata_stream,
    shown,
)
from mulligan.handlers.metadef import Metadef
from mulligan.handlers.names import slug_of
from mulligan.handlers.objects import OBJECTS, owner_of, sees
from mulligan.model import ProjectId, StreamId, is_uuid, stream_id
from mulligan.proto import v1
from mulligan.queries import metadata as queries
from mulligan.services import parse
from mulligan.services.gate.caller import caller, request_of
from mulligan.services.meta.metadefs import Metadefs, require_visible, viewer
from mulligan.services.objects import identify
from mulligan.services.reading import page_of, wait_for
from mulligan.services.structs import struct_of, values_of

_AT_ONCE = 2000


class Decorations(Metadefs):
    """What objects of every service carry."""

    async def get_metadata(self, message: v1.GetMetadataRequest) -> v1.MetadataResponse:
        """Return the tags and attributes of an object, as far as the caller may read them."""
        uuid = await self._object(message.kind, message.object)
        return await self._metadata_response(message.kind, uuid, message.object)

    async def update_metadata(self, message: v1.UpdateMetadataRequest) -> v1.MetadataResponse:
        """Change tags and attributes of one object, all or nothing."""
        request = request_of(message)
        uuid = await self._object(message.kind, message.object)
        command = UpdateMetadata(
            kind=message.kind,
            object=uuid,
            called=message.object,
            viewer=viewer(),
            add_tags=_tags(message.add_tags, "add_tags", MAX_TAGS),
            remove_tags=_tags(message.remove_tags, "remove_tags", MAX_TAGS),
            set=_attributes(message.set_attributes, "set_attributes", MAX_ATTRIBUTES),
            remove=_references(message.remove_attributes, "remove_attributes", MAX_ATTRIBUTES),
        )
        versions = {metadata_stream(message.kind, uuid): parse.version(message.etag)}
        await require_visible(self._commands, message.kind, uuid, message.object)
        await self._commands.execute(command, request, versions=versions)
        return await self._metadata_response(message.kind, uuid, message.object)

    async def find_objects(self, message: v1.FindObjectsRequest) -> v1.FindObjectsResponse:
        """Return what the caller may see and what carries all of the tags and values."""
        if message.kind:
            require_kind(message.kind)
        who = viewer()
        tags = _tags(message.tags, "tags", queries.MAX_TERMS)
        wanted = _attributes(message.attributes, "attributes", queries.MAX_TERMS)
        search = queries.Search(
            kind=message.kind, tags=tags, attributes=await self._readable(wanted)
        )
        position = await wait_for(self._rt, message.freshness, *queries.models_of(message.kind))
        page = await queries.find_objects(
            self._rt.parts.database, search, who, page_of(self._rt, message.page)
        )
        states = await self._definitions(found.metadata for found in page.items)
        objects = []
        for found in page.items:
            lent = OBJECTS[found.metadata.kind].lent
            project = ProjectId("" if lent else found.project)
            values = shown(found.metadata, states, who, project)
            if values or found.metadata.tags:
                objects.append(_message(found.metadata, values, found.version))
        return v1.FindObjectsResponse(
            objects=objects, next_page_token=page.next_token, position=position
        )

    async def _readable(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by the UUIDs of their metadefs, each of which the caller may read."""
        who = viewer()
        found: dict[str, Any] = {}
        for reference, value in wanted.items():
            uuid = await self._metadef(reference, f"attributes[{reference}]")
            state: Metadef | None = (await self._commands.state(stream_id("metadef", uuid))).state
            if state is None or state.deleted or not sees(who, "metadef", state):
                raise NotFound("metadef", reference)
            if not metadefs.readable(who, state):
                raise PermissionDenied(
                    f"attribute {state.name!r} is read by {', '.join(state.read_roles)}"
                )
            if uuid in found:
                raise InvalidArgument(f"attributes[{reference}]", "is given twice")
            found[uuid] = value
        return found

    async def _object(self, kind: str, text: str) -> str:
        require_kind(kind)
        if kind == "metadef":
            return await self._metadef(text, "object")
        if OBJECTS[kind].named_by_project and text and not is_uuid(text):
            scope = caller().require_project()
            return await identify(self._commands, kind, text, "object", scope)
        return await identify(self._commands, kind, text, "object")

    async def _metadata_response(self, kind: str, uuid: str, called: str) -> v1.MetadataResponse:
        who = viewer()
        streams = [stream_id(kind, uuid), metadata_stream(kind, uuid)]
        await require_visible(self._commands, kind, uuid, called)
        known = await self._commands.states(streams)
        state = known[streams[0]].state
        held: Metadata | None = known[streams[1]].state
        metadata = held or Metadata(kind=kind, object=uuid, tags=(), values={})
        states = await self._definitions([metadata])
        values = shown(metadata, states, who, owner_of(kind, state))
        message = _message(metadata, values, known[streams[1]].version)
        return v1.MetadataResponse(metadata=message, position=self._position())

    async def _definitions(self, some: Iterable[Metadata]) -> States:
        streams = sorted({stream_id("metadef", m) for metadata in some for m in metadata.values})
        found: dict[StreamId, Any] = {}
        for start in range(0, len(streams), _AT_ONCE):
            known = await self._commands.states(streams[start : start + _AT_ONCE])
            found |= {stream: one.state for stream, one in known.items()}
        return found


def require_kind(kind: str) -> None:
    """Raise InvalidArgument unless there are objects of this kind."""
    if kind not in OBJECTS:
        raise InvalidArgument("kind", f"{kind!r} is not one of {', '.join(sorted(OBJECTS))}")


def _message(metadata: Metadata, values: dict[str, Any], version: int) -> v1.Metadata:
    return v1.Metadata(
        kind=metadata.kind,
        uuid=metadata.object,
        tags=list(metadata.tags),
        attributes=struct_of(values),
        etag=str(version) if version else "",
    )


def _tags(given: list[str], field: str, most: int) -> tuple[str, ...]:
    if len(given) > most:
        raise InvalidArgument(field, f"at most {most} at once")
    for index, tag in enumerate(given):
        check_tag(tag, f"{field}[{index}]")
    return tuple(sorted(set(given)))


def _attributes(given: Any, field: str, most: int) -> dict[str, Any]:
    _references(list(given.fields) if given is not None else [], field, most)
    return values_of(given, field)


def _references(given: list[str], field: str, most: int) -> tuple[str, ...]:
    if len(given) > most:
        raise InvalidArgument(field, f"at most {most} at once")
    for reference in given:
        slug_of(reference, f"{field}[{reference[:64]}]")
    return tuple(sorted(set(given)))
