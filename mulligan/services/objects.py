"""Find objects by what a caller wrote, a UUID or a name, and read their exact states."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing

from mulligan.commands.runner import Commands
from mulligan.commands.states import Known
from mulligan.errors import InvalidArgument, NotFound
from mulligan.events.codec import Codec
from mulligan.events.name import NameReleased
from mulligan.handlers.account import Project
from mulligan.handlers.names import REGION_SCOPE, NameState, name_stream
from mulligan.model import StreamId, is_uuid, stream_id
from mulligan.services.gate.caller import asked, request_of

_codec = Codec()
MAX_ABOVE = 64
"""Projects above a project; there are fewer, and a loop must not hang a call."""


async def identify(
    commands: Commands, kind: str, text: str, field: str, scope: str = REGION_SCOPE
) -> str:
    """Return the UUID; raise InvalidArgument for an empty or malformed text, NotFound otherwise.

    Whether the object of a UUID exists is for the command to say.
    """
    return (await identify_all(commands, kind, [text], field, scope))[0]


async def identify_all(
    commands: Commands, kind: str, texts: list[str], field: str, scope: str = REGION_SCOPE
) -> list[str]:
    """Return the UUIDs in the order of ``texts``."""
    streams: dict[str, StreamId] = {}
    for text in texts:
        if not text:
            raise InvalidArgument(field, f"name the {kind}, or give its UUID")
        if is_uuid(text):
            continue
        if _looks_like_uuid(text):
            raise InvalidArgument(field, f"{text!r} is a malformed UUID; write it in lower case")
        streams[text] = _stream(kind, text, field, scope)
    known = await commands.states(list(streams.values()))
    found: list[str] = []
    for text in texts:
        if text not in streams:
            found.append(text)
            continue
        state: NameState | None = known[streams[text]].state
        holder = state.object if state is not None else ""
        holder = holder or await _held_then(commands, streams[text])
        if not holder:
            raise NotFound(kind, text)
        found.append(holder)
    return found


async def _held_then(commands: Commands, name: StreamId) -> str:
    """Return the object that gave a name away by the very request that is asked for again.

    So a repeated deletion by name finds what it has deleted, and gets its first answer. Empty when
    the request is none that was done before, or has not touched the name.
    """
    message = asked()
    if message is None:
        return ""
    request = request_of(message)
    done = await commands.earlier(request)
    if done is None:
        return ""
    seq = done.position.seq
    async with aclosing(commands.log.read(seq, seq)) as batches:
        entry = (await anext(batches))[0].entry
    given_away = (
        event
        for commit in entry.commits
        if commit.id == request.id
        for record in commit.events
        if record.stream == name and isinstance(event := _codec.event(record), NameReleased)
    )
    return next((event.object for event in given_away), "")


def _stream(kind: str, text: str, field: str, scope: str) -> StreamId:
    try:
        return name_stream(kind, text, scope)
    except InvalidArgument as error:
        raise InvalidArgument(field, error.violations[0].description) from error


def _looks_like_uuid(text: str) -> bool:
    return len(text) == 36 and text.count("-") == 4


async def fetch(commands: Commands, kind: str, uuid: str) -> Known:
    """Return an object's exact state; raise NotFound when it is absent or deleted."""
    known = await commands.state(stream_id(kind, uuid))
    if known.state is None or getattr(known.state, "deleted", False):
        raise NotFound(kind, uuid)
    return known


async def project_path(
    state_of: Callable[[StreamId], Awaitable[Known]], project: str
) -> list[Project | None]:
    """Return a project and those above it, itself first; nothing for the system.

    One that is not there ends the path, as None.
    """
    path: list[Project | None] = []
    while project and len(path) < MAX_ABOVE:
        found: Project | None = (await state_of(stream_id("project", project))).state
        path.append(found)
        project = found.parent if found is not None else ""
    return path
