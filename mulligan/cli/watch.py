"""``--watch``: a verb that looks, done again whenever the log moves.

On a terminal what it prints is refreshed in place. Elsewhere rows that changed are appended, as
lines of JSON with ``-o json``, so that a pipe can be read for ever.
"""

import io
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio

from mulligan.cli.output import Column, Format, Output, name_of, plain
from mulligan.cli.report import describe
from mulligan.cli.verbs import Session
from mulligan.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    MulliganError,
    PermissionDenied,
    Unavailable,
)

AT_MOST_EVERY = 0.5
"""Seconds between two looks, however fast the log moves."""
AT_LEAST_EVERY = 5.0
"""Seconds after which is looked again though nothing was heard: not all that is shown is logged."""
WITHOUT_LOG = 2.0
"""Seconds between two looks of one who may not watch the log."""
_HOME_AND_CLEAR = "\x1b[H\x1b[2J\x1b[3J"
_PASSING = (Unavailable, DeadlineExceeded)


class Changes(Output):
    """Prints of each list what was not printed before, and of one object what it is by now."""

    def __init__(self, like: Output) -> None:
        super().__init__(like.form, quiet=like.quiet, out=like.out, err=like.err)
        self._known: dict[str, Any] = {}
        self._begun = False

    def rows(self, items: Sequence[Any], columns: Sequence[Column], empty: str = "") -> None:
        """Print the rows that are new or changed, and note those that are gone."""
        now = {_key(item): (item, self._seen(item, columns)) for item in items}
        for gone in self._known.keys() - now.keys():
            self.note(f"gone: {gone}")
        changed = [item for key, (item, seen) in now.items() if self._known.get(key) != seen]
        first, self._begun = not self._begun, True
        self._known = {key: seen for key, (_, seen) in now.items()}
        if self.form in (Format.JSON, Format.YAML):
            for item in changed:
                self.record(item, "")
        elif self.form is Format.NAME:
            super().rows(changed, columns)
        elif changed or first:
            self.table(changed, columns, titles=first)
        self.out.flush()

    def one(self, item: Any, columns: Sequence[Column]) -> None:
        """Print an object if it changed."""
        seen = self._seen(item, columns)
        if self._known.get("") == seen:
            return
        self._known[""] = seen
        if self.for_people:
            super().one(item, columns)
            self.line("")
            self.out.flush()
        else:
            self.record(item, name_of(item))

    def _seen(self, item: Any, columns: Sequence[Column]) -> Any:
        """Return what a reader would see of an item; a time that only grows older is no change."""
        if self.for_people:
            return [str(column.value(item)) for column in columns if self.shows(column)]
        return plain(item)


def _key(item: Any) -> str:
    """Return what tells an item from the others of a list."""
    return str(getattr(item, "uuid", "") or name_of(item) or repr(item))


async def watch(
    function: Callable[..., Awaitable[None]], session: Session, given: dict[str, Any]
) -> None:
    """Do a verb now and at each move of the log, until Ctrl-C; a service may be away meanwhile.

    Raise InvalidArgument with ``--at``, for the past does not move, and what the first look raises.
    """
    if session.at:
        raise InvalidArgument("--watch", "shows the present; leave out --at")
    terminal, bell = session.out, Bell()
    on_screen = terminal.screen is not None and terminal.for_people
    changes = Changes(terminal)
    await session.enter()
    async with anyio.create_task_group() as tasks:
        looked = False
        while True:
            picture = io.StringIO()
            session.out = changes
            if on_screen:
                session.out = Output(
                    terminal.form, out=picture, err=terminal.err, screen=terminal.screen
                )
            try:
                await function(session, **given)
            except _PASSING as error:
                if not looked:
                    raise
                terminal.note("\n".join(describe(error)))
            else:
                if on_screen:
                    refresh(terminal, picture.getvalue())
            if not looked:
                tasks.start_soon(bell.ring_when_the_log_moves, session)
            looked = True
            await bell.wait()


def refresh(terminal: Output, text: str) -> None:
    """Put a picture in place of the one before."""
    clock = time.strftime("%H:%M:%S")
    terminal.out.write(f"{_HOME_AND_CLEAR}{text}\n{clock}  Ctrl-C ends\n")
    terminal.out.flush()


class Bell:
    """Rings when the log moved, and now and then; many moves together are one."""

    def __init__(self) -> None:
        self._moved = anyio.Event()
        self._patience = AT_LEAST_EVERY

    async def wait(self) -> None:
        """Return when it rings, no sooner than ``AT_MOST_EVERY``."""
        await anyio.sleep(AT_MOST_EVERY)
        with anyio.move_on_after(self._patience):
            await self._moved.wait()
        self._moved = anyio.Event()

    async def ring_when_the_log_moves(self, session: Session) -> None:
        """Ring at each entry; where the log cannot be watched, it rings by the clock alone."""
        from mulligan.proto.v1 import WatchLogRequest

        while True:
            try:
                async for _ in session.client.log.watch_log(WatchLogRequest(from_head=True)):
                    self._moved.set()
            except (PermissionDenied, FailedPrecondition):
                self._patience = WITHOUT_LOG
                return
            except MulliganError:
                with suppress(TimeoutError):
                    await anyio.sleep(WITHOUT_LOG)
