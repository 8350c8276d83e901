"""What the ``.proto`` files say of each method, as far as a client goes by it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

PACKAGE = "mulligan.v1"
PERMISSION = f"{PACKAGE}.permission"
POSITION = f"{PACKAGE}.Position"
FRESHNESS = f"{PACKAGE}.Freshness"
PAGE = f"{PACKAGE}.Page"
_SERVICE_FIELD, _METHOD_FIELD = 6, 2
"""Numbers of the fields ``service`` and ``method`` of descriptors, in the paths of comments."""


class Items(NamedTuple):
    """What the pages of a list hold: the field of the answer, and the message in it."""

    field: str
    message: str


class Method(NamedTuple):
    """One RPC. ``file`` is the ``.proto`` file that declares it; names are without the package."""

    service: str
    name: str
    file: str
    request: str
    reply: str
    comment: str
    permission: str
    reads: bool
    streaming: bool
    request_id: bool
    freshness: bool
    position: bool
    resume: str
    """How a broken stream goes on: ``again`` from its beginning if nothing has come, ``whole`` for
    every message is all there is, ``after`` or ``first``: the field that takes the last entry."""
    endless: bool
    items: Items | None

    @property
    def route(self) -> str:
        """Return the path by which it is called."""
        return f"/{PACKAGE}.{self.service}/{self.name}"


class Service(NamedTuple):
    """One gRPC service and its methods, in the order of the ``.proto`` file."""

    name: str
    comment: str
    methods: tuple[Method, ...]


def read_services(descriptors: bytes) -> list[Service]:
    """Return the services of ``mulligan.v1`` from a serialized FileDescriptorSet with comments."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    permissions = _permissions(pool, descriptors)
    return [
        service
        for file in files
        if file.package == PACKAGE
        for service in _services(file, pool.FindFileByName(file.name), permissions)
    ]


def _permissions(pool: descriptor_pool.DescriptorPool, descriptors: bytes) -> dict[str, str]:
    option = pool.FindExtensionByName(PERMISSION)
    kind = pool.FindMessageTypeByName("google.protobuf.FileDescriptorSet")
    known: Any = message_factory.GetMessageClass(kind).FromString(descriptors)
    return {
        f"{service.name}.{method.name}": method.options.Extensions[option]
        for file in known.file
        if file.package == PACKAGE
        for service in file.service
        for method in service.method
    }


def _services(
    file: descriptor_pb2.FileDescriptorProto, known: FileDescriptor, permissions: dict[str, str]
) -> Iterator[Service]:
    comments = {
        tuple(place.path): " ".join(place.leading_comments.split())
        for place in file.source_code_info.location
    }
    for number, service in enumerate(file.service):
        described = known.services_by_name[service.name]
        unary = {
            (method.input_type, method.output_type)
            for method in service.method
            if not method.server_streaming
        }
        methods = []
        for place, method in enumerate(service.method):
            pair = described.methods_by_name[method.name]
            request, reply = pair.input_type, pair.output_type
            whole = (method.input_type, method.output_type) in unary
            methods.append(
                Method(
                    service=service.name,
                    name=method.name,
                    file=file.name,
                    request=request.name,
                    reply=reply.name,
                    comment=comments.get((_SERVICE_FIELD, number, _METHOD_FIELD, place), ""),
                    permission=permissions[f"{service.name}.{method.name}"],
                    reads=method.options.idempotency_level
                    == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS,
                    streaming=method.server_streaming,
                    request_id="request_id" in request.fields_by_name,
                    freshness=_holds(request, "freshness", FRESHNESS),
                    position=_holds(reply, "position", POSITION),
                    resume=_resumption(method.server_streaming, whole, request, reply),
                    endless=method.server_streaming and method.name.startswith("Watch"),
                    items=_items(request, reply),
                )
            )
        yield Service(service.name, comments.get((_SERVICE_FIELD, number), ""), tuple(methods))


def _holds(message: Descriptor, field: str, kind: str) -> bool:
    found = message.fields_by_name.get(field)
    return (
        found is not None
        and found.message_type is not None
        and (found.message_type.full_name == kind)
    )


def _resumption(streaming: bool, whole: bool, request: Descriptor, reply: Descriptor) -> str:
    if not streaming:
        return ""
    if whole:
        return "whole"
    if _holds(reply, "position", POSITION) and "commit" in reply.fields_by_name:
        for field in ("after", "first"):
            if field in request.fields_by_name:
                return field
    return "again"


def _items(request: Descriptor, reply: Descriptor) -> Items | None:
    if not _holds(request, "page", PAGE) or "next_page_token" not in reply.fields_by_name:
        return None
    fields: Sequence[FieldDescriptor] = reply.fields
    lists = [
        Items(field.name, field.message_type.name)
        for field in fields
        if field.is_repeated and field.message_type is not None
    ]
    return lists[0] if len(lists) == 1 else None
