"""Who calls: taken from the token once, then handed to the service by a context variable."""

import hashlib
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Protocol

import betterproto2
import msgspec
from betterproto2 import decode_varint
from grpclib.encoding.proto import ProtoCodec

from mulligan.commands.runner import Request, is_ahead
from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound
from mulligan.events.envelope import Actor
from mulligan.model import AccountId, CommitId, ProjectId, is_uuid, new_id, utc_now
from mulligan.proto import v1
from mulligan.services.gate.wellformed import parsed


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated caller; ``project`` is empty for a system-scoped token.

    ``is_system`` tells whether the call may reach the objects of every project: a system role
    grants what it needs.
    """

    account: AccountId
    project: ProjectId
    roles: tuple[str, ...]
    credential: str = ""
    session: str = ""
    expires_at: datetime
    traceparent: str = ""
    is_system: bool = False

    @property
    def visible_project(self) -> ProjectId:
        """The only project it may see, ``-`` for none; empty when it may see all of them."""
        return ProjectId("") if self.is_system else self.project or ProjectId("-")

    def require_project(self) -> ProjectId:
        """Return the project the token is scoped to; raise FailedPrecondition without one."""
        if not self.project:
            raise FailedPrecondition(
                "this needs a project: log in with one (mulligan login --project NAME)"
            )
        return self.project

    def require_own(self, kind: str, key: str, project: str) -> None:
        """Raise NotFound for an object of a project that the caller may not see."""
        if not self.is_system and project != self.project:
            raise NotFound(kind, key)


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The other end of the connection: its host, and its client certificate (DER) if it has one."""

    host: str = ""
    certificate: bytes = b""


_WIRE = "_wire"
_DRY_RUNS = (
    v1.DryRunIamRequest,
    v1.DryRunMetaRequest,
    v1.DryRunResourceRequest,
    v1.DryRunControlRequest,
)
_caller: ContextVar[Caller] = ContextVar("caller")
set_caller = _caller.set
_peer: ContextVar[Peer] = ContextVar("peer")
set_peer = _peer.set


_asked: ContextVar[Any] = ContextVar("asked")
set_asked = _asked.set


def asked() -> "Mutation | None":
    """Return the message of the present call if it is one that may be repeated under its id."""
    message = _asked.get(None)
    return message if getattr(message, "request_id", "") else None


_becoming: ContextVar[Callable[[str], None]] = ContextVar("becoming")
set_becoming = _becoming.set


def act_as(path: str) -> None:
    """Go on as a call of another method, by its path; raise PermissionDenied without its grant."""
    _becoming.get()(path)


def caller() -> Caller:
    """Return who makes the present call."""
    return _caller.get()


def peer() -> Peer:
    """Return where the present call comes from."""
    return _peer.get(Peer())


class Mutation(Protocol):
    """A request message of a mutating method."""

    request_id: str

    def __bytes__(self) -> bytes:
        """Return the message's wire form."""


class WireCodec(ProtoCodec):
    """Decodes messages and keeps what came over the wire, so that it can be told from a repeat."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Return the message, with its wire form beside it; raise InvalidArgument for none."""
        message = parsed(data, message_type)
        if hasattr(message, "request_id"):
            setattr(message, _WIRE, data)
        elif isinstance(message, _DRY_RUNS):
            command = betterproto2.which_one_of(message, "command")[1]
            if command is not None:
                setattr(command, _WIRE, only_field(data))
        return message


def only_field(data: bytes) -> bytes | None:
    """Return the wire form of the message in another that has it and nothing else, else None."""
    try:
        tag, at = decode_varint(data, 0)
        size, at = decode_varint(data, at)
    except (EOFError, ValueError):
        return None
    return data[at:] if tag & 7 == 2 and at + size == len(data) else None


def wire_of(message: Mutation) -> bytes:
    """Return the wire form of a message: as it came, or as it is now if it did not come so."""
    return getattr(message, _WIRE, None) or bytes(message)


def request_of(message: Mutation) -> Request:
    """Name the commit that a message asks for; without a request id it gets a new one."""
    request_id = message.request_id
    if not request_id:
        request_id = message.request_id = new_id()
    if not is_uuid(request_id):
        raise InvalidArgument("request_id", f"{request_id!r} is not a UUID in lower case")
    if is_ahead(CommitId(request_id), utc_now()):
        raise InvalidArgument(
            "request_id", "its time lies more than a minute ahead; set the clock of your machine"
        )
    who = caller()
    digest = hashlib.sha256(f"{type(message).__name__}/{who.account}/{who.project}/".encode())
    digest.update(wire_of(message))
    return Request(
        id=CommitId(request_id),
        actor=Actor(account=who.account, project=who.project, credential=who.credential),
        digest=digest.hexdigest()[:32],
        traceparent=who.traceparent,
    )
