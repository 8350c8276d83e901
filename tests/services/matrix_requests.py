"""A request for every RPC, made from its message: which of its fields name an object, and which.

The messages are read from the compiled protos, so a new RPC is taken up by itself. A new field of
text, or a new message inside a request, has to be entered below: until then the matrix fails.
"""

import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet

from mulligan.model import new_id
from mulligan.proto import v1
from mulligan.proto.descriptors import descriptor_set

PACKAGE = "mulligan.v1"


class Ref(NamedTuple):
    """The field names an object of this kind, by its UUID or its name."""

    kind: str
    form: str = "{}"


class Value(NamedTuple):
    """The field is given this, or what a function returns."""

    value: Any


LEFT_OUT = Value(None)

FIELDS: Mapping[str, Ref | Value] = {
    # what names an object
    "account": Ref("account"),
    "claim": Ref("claim"),
    "credential": Ref("credential"),
    "DeleteApplicationCredentialRequest.credential": Ref("application"),
    "domain": Ref("provider"),
    "group": Ref("group"),
    "RequestGroup.groups": LEFT_OUT,
    "image": Ref("image"),
    "in_tree": Ref("provider"),
    "machine": Ref("machine"),
    "metadef": Ref("metadef"),
    "parent": Ref("provider"),
    "CreateProjectRequest.parent": Ref("project"),
    "UpdateRegionRequest.parent": LEFT_OUT,
    "ConnectRegionRequest.parent": LEFT_OUT,
    "project": Ref("project"),
    "provider": Ref("provider"),
    "source": Ref("provider"),
    "target": Ref("provider"),
    "under": Ref("provider"),
    "ListRegionsRequest.under": LEFT_OUT,
    "user_data": Ref("userdata"),
    "add": Ref("provider"),
    "remove": LEFT_OUT,
    "shares": LEFT_OUT,
    "cordon": Ref("provider"),
    "uncordon": LEFT_OUT,
    "cordon_groups": LEFT_OUT,
    "release": Ref("claim"),
    "object": Ref("claim"),
    "uuids": Ref("claim"),
    "names": Ref("claim"),
    "RebuildProjectionsRequest.names": Value(["regions"]),
    "LogFilter.stream": Ref("claim", "claim/{}"),
    "DiffLogRequest.from": Value("1"),
    "DiffLogRequest.to": LEFT_OUT,
    "DiffLogRequest.kind": LEFT_OUT,
    "DiffLogRequest.stream": Ref("claim", "claim/{}"),
    "RetryProjectionRequest.name": Value("regions"),
    "wipe_image": LEFT_OUT,
    "Allocation.group": LEFT_OUT,
    "DistanceRule.to": LEFT_OUT,
    # what does not
    "add_tags": Value(["tagged"]),
    "address": Value("https://127.0.0.1:9"),
    "addresses": Value(["127.0.0.1:9"]),
    "by": Value("class"),
    "ca": LEFT_OUT,
    "capabilities": LEFT_OUT,
    "clean": LEFT_OUT,
    "command": LEFT_OUT,
    "consumer": LEFT_OUT,
    "content": Value(b"#cloud-config"),
    "description": Value("of the matrix"),
    "etag": LEFT_OUT,
    "fingerprint": LEFT_OUT,
    "firmware": LEFT_OUT,
    "forbid": LEFT_OUT,
    "from": LEFT_OUT,
    "health": LEFT_OUT,
    "hostname": LEFT_OUT,
    "kind": Value("claim"),
    "CreateAccountRequest.kind": Value("user"),
    "CreateImageRequest.kind": Value("iso"),
    "kinds": LEFT_OUT,
    "log_level": LEFT_OUT,
    "logger": LEFT_OUT,
    "manufacturer": LEFT_OUT,
    "HardwareProfile.manufacturer": Value("no-such-maker"),
    "max": LEFT_OUT,
    "min": LEFT_OUT,
    "model": LEFT_OUT,
    "name": Value(lambda: f"m{new_id()[-12:]}-made"),
    "PlannedClaim.name": Value("planned"),
    "RequestGroup.name": Value("group"),
    "ListMachinesRequest.name": LEFT_OUT,
    "above": LEFT_OUT,
    "DisconnectRegionRequest.name": Value("no-such-region"),
    "DeleteProfileRequest.name": Value("no-such-profile"),
    "ExtendDistanceTypeRequest.name": Value("no-such-distance"),
    "new_secret": Value("another-long-enough-secret"),
    "note": LEFT_OUT,
    "old_secret": Value("not the secret of anybody"),
    "on_end": LEFT_OUT,
    "outcome": LEFT_OUT,
    "password": Value("a-password-of-16c"),
    "pem": Value("no certificate"),
    "policy": LEFT_OUT,
    "position": LEFT_OUT,
    "positions": Value(["near", "far"]),
    "power": LEFT_OUT,
    "prefix": LEFT_OUT,
    "profile": LEFT_OUT,
    "project_name": LEFT_OUT,
    "provider_name": LEFT_OUT,
    "read_roles": LEFT_OUT,
    "ready_when": LEFT_OUT,
    "reason": Value("the matrix asks"),
    "refresh_token": Value("none"),
    "region": LEFT_OUT,
    "remove_attributes": LEFT_OUT,
    "remove_tags": LEFT_OUT,
    "request_id": Value(new_id),
    "require": LEFT_OUT,
    "resource_class": LEFT_OUT,
    "Inventory.resource_class": Value("custom.matrix"),
    "role": Value("reader"),
    "roles": LEFT_OUT,
    "secret": Value("a-secret-for-the-matrix"),
    "sha256": Value("0" * 64),
    "system": LEFT_OUT,
    "tags": LEFT_OUT,
    "token": LEFT_OUT,
    "type": LEFT_OUT,
    "CreateProviderRequest.type": Value("compute"),
    "update_mask": Value(["description"]),
    "UpdateProviderRequest.update_mask": Value(["attributes"]),
    "UpdateRegionRequest.update_mask": Value(["attributes"]),
    "url": Value("https://images.example/none.iso"),
    "use": Value("token"),
    "Quota.use": LEFT_OUT,
    "username": Value("nobody"),
    "values": LEFT_OUT,
    "visibility": Value("public"),
    "write_roles": LEFT_OUT,
    # numbers, times and choices that a request does not go without
    "resources": Value({"custom.matrix": 1}),
    "amounts": Value({"custom.matrix": 1}),
    "limits": Value({"custom.matrix": 100}),
    "total": Value(1),
    "verify": Value(True),
    "from_head": Value(True),
    "PowerMachineRequest.target": Value(v1.PowerTarget.ON),
    "open_end": Value(True),
}
"""By ``Message.field`` or by ``field``; numbers, flags and times that are not here are left out."""

INSIDE = frozenset(
    {
        "Allocation", "Bmc", "GroupFilter", "HardwareProfile", "Inventory", "LogFilter",
        "PlannedClaim", "Quota", "RequestGroup", "ReshapedClaim", "ReshapedProvider",
        "ResourceRequest", "RoleBinding", "Supposition",
    }
)  # fmt: skip
"""Messages inside requests that are filled in."""

LEFT_EMPTY = frozenset(
    {
        "CapabilityFilter", "Distance", "DistanceRule", "Freshness", "Page", "QuotaUse", "Span",
        "StringList", "Window", "Position",
    }
)  # fmt: skip
"""Messages inside requests that are left out, as those of google.protobuf are."""


class Rpc(NamedTuple):
    """A method as its proto has it."""

    service: str
    name: str
    request: str
    streams: bool

    @property
    def path(self) -> str:
        return f"/{PACKAGE}.{self.service}/{self.name}"

    @property
    def method(self) -> str:
        """Return ``service.method_name``, as ``Edge.call`` has it."""
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()
        return f"{self.service.lower()}.{name}"

    def __str__(self) -> str:
        return f"{self.service}.{self.name}"


Find = Callable[[str], str]
"""Gives what names the object of a kind that a request is to name; empty for none."""


def _files() -> FileDescriptorSet:
    return FileDescriptorSet.FromString(descriptor_set())


MESSAGES: Mapping[str, DescriptorProto] = {
    message.name: message
    for file in _files().file
    if file.package == PACKAGE
    for message in file.message_type
}

TRIED: frozenset[str] = frozenset(
    field.type_name.rpartition(".")[2]
    for name, message in MESSAGES.items()
    if name.startswith("DryRun")
    for field in message.field
    if field.HasField("oneof_index")
)
"""Requests that a dry run takes."""

RPCS: tuple[Rpc, ...] = tuple(
    Rpc(service.name, one.name, one.input_type.rpartition(".")[2], one.server_streaming)
    for file in _files().file
    if file.package == PACKAGE
    for service in file.service
    for one in service.method
)


class Site(NamedTuple):
    """A field of a message, wherever that is in a request, which names an object."""

    message: str
    field: str
    ref: Ref

    def __str__(self) -> str:
        return f"{self.message}.{self.field}"


def sites(message: str) -> Iterator[Site]:
    """Yield every field of a request that names an object."""
    for field in _fields(message):
        entry = _entry(message, field)
        if isinstance(entry, Ref):
            yield Site(message, field.name, entry)
        elif inside := _inside(message, field):
            yield from sites(inside)


def made(message: str, find: Find, changed: Mapping[Site, str] | None = None) -> Any:
    """Return a request in which every object is what ``find`` says, but for those ``changed``."""
    given = changed or {}
    values: dict[str, Any] = {}
    for field in _fields(message):
        entry = _entry(message, field)
        value: Any = None
        if isinstance(entry, Ref):
            site = Site(message, field.name, entry)
            found = given[site] if site in given else find(entry.kind)
            value = entry.form.format(found) if found else None
        elif isinstance(entry, Value):
            value = entry.value() if callable(entry.value) else entry.value
        elif inside := _inside(message, field):
            value = made(inside, find, given)
        if value is None:
            continue
        repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
        name = f"{field.name}_" if keyword.iskeyword(field.name) else field.name
        values[name] = [value] if repeated and not isinstance(value, list | dict) else value
    return getattr(v1, message)(**values)


def _fields(message: str) -> list[FieldDescriptorProto]:
    """Return the fields to fill in: of those that exclude one another, the first."""
    found: list[FieldDescriptorProto] = []
    choices: set[int] = set()
    for field in MESSAGES[message].field:
        if field.HasField("oneof_index") and not field.proto3_optional:
            if field.oneof_index in choices:
                continue
            choices.add(field.oneof_index)
        found.append(field)
    return found


def _entry(message: str, field: FieldDescriptorProto) -> Ref | Value | None:
    entry = FIELDS.get(f"{message}.{field.name}") or FIELDS.get(field.name)
    if field.type == FieldDescriptorProto.TYPE_MESSAGE and not isinstance(entry, Value):
        return None
    text = field.type in (FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_BYTES)
    assert entry is not None or not text, (
        f"{message}.{field.name} is new: say in FIELDS of {__name__} which kind of object it names,"
        " or what to put there"
    )
    if isinstance(entry, Ref) and not text:
        return None
    return entry


def _inside(message: str, field: FieldDescriptorProto) -> str:
    """Return the name of a message inside that is to be filled in."""
    if field.type != FieldDescriptorProto.TYPE_MESSAGE:
        return ""
    name = field.type_name.rpartition(".")[2]
    if not field.type_name.startswith(f".{PACKAGE}.") or name in LEFT_EMPTY:
        return ""
    if name.endswith("Entry"):  # of a map
        return ""
    assert name in INSIDE or name in TRIED, (
        f"{message}.{field.name} is a {name}, which is new in requests: put it into INSIDE of"
        f" {__name__} to have it filled in, or into LEFT_EMPTY"
    )
    return name
