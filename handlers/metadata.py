"""Streams ``metadata/<kind>/<uuid>``: the tags and attributes of objects, whatever their kind."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from mulligan.events.metadata import Event, MetadataChanged
from mulligan.handlers import metadef as metadefs
from mulligan.handlers import schemas, values
from mulligan.handlers.decision import Change, Command, States
from mulligan.handlers.metadef import Metadef
from mulligan.handlers.objects import Viewer, decorates, owner_of, sees
from mulligan.model import ProjectId, StreamId, is_uuid, stream_id

MAX_TAG = 255
MAX_TAGS = 64
"""Tags of one object."""
MAX_ATTRIBUTES = 64
"""Attributes of one object."""
MAX_SIZE = 64 * 1024
"""Bytes of all tags and values of one object as JSON."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """Tags, sorted, and values by the UUIDs of their metadefs."""

    kind: str
    object: str
    tags: tuple[str, ...]
    values: dict[str, Any]


def evolve(state: Metadata | None, event: Event, at: datetime) -> Metadata:
    """Return the metadata as they are after the event."""
    tags = set(state.tags if state else ()) - set(event.remove_tags) | set(event.add_tags)
    values = {**(state.values if state else {}), **event.set}
    for metadef in event.remove:
        values.pop(metadef, None)
    return Metadata(kind=event.kind, object=event.object, tags=tuple(sorted(tags)), values=values)


def metadata_stream(kind: str, uuid: str) -> StreamId:
    """Name the stream of what decorates an object; a machine and its provider share a UUID."""
    return stream_id("metadata", f"{kind}/{uuid}")


def check_tag(tag: str, field: str) -> None:
    """Raise InvalidArgument, naming ``field``, unless the text can be a tag."""
    if not 0 < len(tag) <= MAX_TAG or not tag.isprintable() or tag != tag.strip():
        raise InvalidArgument(
            field, f"a tag is 1 to {MAX_TAG} printable characters without a space at either end"
        )


def shown(
    metadata: Metadata | None, states: States, viewer: Viewer, project: ProjectId
) -> dict[str, Any]:
    """Return the values that the viewer may read, by name; ``project`` owns the object.

    ``states`` has the metadefs of all values. Where a project's attribute has the name of one of
    the region, that one goes by its UUID.
    """
    live: list[tuple[Metadef, Any]] = []
    for uuid, value in (metadata.values if metadata is not None else {}).items():
        metadef: Metadef | None = states.get(stream_id("metadef", uuid))
        if metadef is None or metadef.deleted or metadef.project not in {"", project}:
            continue
        if metadefs.readable(viewer, metadef):
            live.append((metadef, value))
    own = {m.name for m, _ in live if m.project}
    named = {m.id if not m.project and m.name in own else m.name: value for m, value in live}
    return dict(sorted(named.items()))


class UpdateMetadata(Command, frozen=True, kw_only=True):
    """Tag an object and set attributes, by names or UUIDs of metadefs, all or nothing.

    ``set`` has plain values. ``called`` is what the caller wrote for the object, for errors.
    """

    NAME: ClassVar = "metadata.update"
    kind: str
    object: str
    called: str
    viewer: Viewer
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    set: dict[str, Any] = {}
    remove: tuple[str, ...] = ()

    def reads(self, states: States) -> list[StreamId]:
        """Read the object and its metadata, names of metadefs, then those and the ones held."""
        streams = [stream_id(self.kind, self.object), metadata_stream(self.kind, self.object)]
        state = states.get(streams[0])
        if state is None:
            return streams
        metadata: Metadata | None = states.get(streams[1])
        uuids = set(metadata.values) if metadata is not None else set()
        for reference in (*self.set, *self.remove):
            if is_uuid(reference):
                uuids.add(reference)
                continue
            for scope in metadefs.scopes(owner_of(self.kind, state)):
                streams.append(metadefs.name_in(reference, scope))
                named = states.get(streams[-1])
                if named is not None and named.object:
                    uuids.add(named.object)
        return streams + [stream_id("metadef", uuid) for uuid in sorted(uuids)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Change what is not so yet, if the caller may and the schemas allow it."""
        state = states.get(stream_id(self.kind, self.object))
        if state is None or getattr(state, "deleted", False):
            raise NotFound(self.kind, self.called)
        if not sees(self.viewer, self.kind, state):
            raise NotFound(self.kind, self.called)
        stream = metadata_stream(self.kind, self.object)
        held: Metadata | None = states.get(stream)
        tags = frozenset(held.tags if held is not None else ())
        old = held.values if held is not None else {}
        free = decorates(self.viewer, self.kind, state)
        if (self.add_tags or self.remove_tags) and not free:
            raise PermissionDenied(f"{self.kind} {self.called!r} is tagged by operators")
        new, gone = self._attributes(states, old, owner_of(self.kind, state), free)
        event = MetadataChanged(
            kind=self.kind,
            object=self.object,
            add_tags=tuple(sorted({*self.add_tags} - tags)),
            remove_tags=tuple(sorted(({*self.remove_tags} & tags) - {*self.add_tags})),
            set=new,
            remove=gone,
        )
        if not (event.add_tags or event.remove_tags or event.set or event.remove):
            return []
        forgotten = _forgotten(states, old)
        event = msgspec.structs.replace(event, remove=tuple(sorted({*event.remove, *forgotten})))
        _require_room(evolve(held, event, now))
        return [Change(stream, event)]

    def _attributes(
        self, states: States, old: Mapping[str, Any], project: ProjectId, free: bool
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the values that are new, and the attributes that go, by UUID."""
        met: set[str] = set()

        def find(reference: str) -> Metadef:
            found = metadefs.known(states, reference, project)
            if found is None:
                raise NotFound("metadef", reference)
            if found.id in met:
                raise InvalidArgument(f"attributes[{reference}]", "is given twice")
            met.add(found.id)
            self._require_writer(found, free)
            return found

        new: dict[str, Any] = {}
        for reference, value in self.set.items():
            metadef = find(reference)
            field = f"set_attributes[{reference}]"
            if metadef.kinds and self.kind not in metadef.kinds:
                raise InvalidArgument(field, f"is for {', '.join(metadef.kinds)} only")
            schemas.require(metadef.schema, value, field)
            if not _equals(old, metadef.id, value):
                _require_unset(metadef, old)
                new[metadef.id] = value
        gone = []
        for reference in self.remove:
            metadef = find(reference)
            if metadef.id in old:
                _require_unset(metadef, old)
                gone.append(str(metadef.id))
        return new, tuple(sorted(gone))

    def _require_writer(self, metadef: Metadef, free: bool) -> None:
        roles = metadef.write_roles
        if self.viewer.has_any(roles) if roles else free:
            return
        who = ", ".join(roles) or "who may tag the object"
        raise PermissionDenied(f"attribute {metadef.name!r} is set by {who}")


def _equals(old: Mapping[str, Any], metadef: str, value: Any) -> bool:
    return metadef in old and values.canonical(old[metadef]) == values.canonical(value)


def _require_unset(metadef: Metadef, old: Mapping[str, Any]) -> None:
    if metadef.protected and metadef.id in old:
        raise FailedPrecondition(
            f"attribute {metadef.name!r} is protected and set; it is not changed any more"
        )


def _forgotten(states: States, old: Mapping[str, Any]) -> set[str]:
    """Return the attributes whose definitions are gone."""
    found = {uuid: states.get(stream_id("metadef", uuid)) for uuid in old}
    return {uuid for uuid, state in found.items() if state is None or state.deleted}


def _require_room(metadata: Metadata) -> None:
    if len(metadata.tags) > MAX_TAGS:
        raise FailedPrecondition(f"an object has at most {MAX_TAGS} tags; remove some")
    if len(metadata.values) > MAX_ATTRIBUTES:
        raise FailedPrecondition(f"an object has at most {MAX_ATTRIBUTES} attributes; remove some")
    size = len(values.canonical([metadata.tags, metadata.values]))
    if size > MAX_SIZE:
        raise FailedPrecondition(
            f"the tags and attributes of an object take at most {MAX_SIZE} bytes, not {size}"
        )
