"""Errors as the user sees them: what, which field, what to do next; and the exit codes."""

import os
import sys
import traceback
from typing import TYPE_CHECKING

from mulligan.errors import (
    AlreadyExists,
    BadConfiguration,
    Conflict,
    DeadlineExceeded,
    Exhausted,
    FailedPrecondition,
    InvalidArgument,
    MulliganError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from mulligan.wording import harmless

if TYPE_CHECKING:
    from mulligan.cli.dry_run_view import Trial

EXIT_CODES: tuple[tuple[type[MulliganError], int], ...] = (
    (InvalidArgument, 2),
    (BadConfiguration, 2),
    (NotFound, 3),
    (PermissionDenied, 4),
    (Unauthenticated, 4),
    (AlreadyExists, 5),
    (Conflict, 5),
    (FailedPrecondition, 6),
    (Exhausted, 7),
    (Unavailable, 8),
    (DeadlineExceeded, 8),
)
"""The exit code by class of error; any other error is 1."""

_NEXT_STEP: tuple[tuple[type[MulliganError], str], ...] = (
    (PermissionDenied, "see your roles with `mulligan whoami`; `mulligan account bind` gives more"),
    (Unauthenticated, "log in with `mulligan login`"),
    (Conflict, "somebody else changed it meanwhile; look again and repeat the command"),
    (Exhausted, "ask for less or later, or see what is claimed with `mulligan claim list`"),
    (Unavailable, "see the services with `mulligan status`, or try again in a moment"),
    (DeadlineExceeded, "the outcome may be unknown; look before repeating the command"),
)

LISTED: dict[str, str] = {
    **{
        noun: noun
        for noun in (
            *("account", "claim", "context", "credential", "group", "image", "machine", "metadef"),
            *("profile", "project", "projection", "provider", "region", "role"),
        )
    },
    "application credential": "application-credential",
    "hardware profile": "profile",
    "userdata": "user-data",
}
"""The noun that lists what there is of a kind."""


class Several(MulliganError):
    """Some of several objects failed; each was reported. ``first`` gives the exit code."""

    def __init__(self, first: MulliganError, failed: int, of: int) -> None:
        self.first = first
        super().__init__(f"{failed} of {of} failed")


class NotSent(MulliganError):
    """A call that would change something was held back, for a dry run: ``trial`` says which."""

    def __init__(self, message: str, trial: "Trial | None" = None) -> None:
        super().__init__(message)
        self.trial = trial


class Refused(MulliganError):
    """Some of the objects that were selected could not be served; each was reported."""


def exit_code(error: BaseException) -> int:
    """Return the exit code of a command that ended with ``error``."""
    if isinstance(error, Several):
        return exit_code(error.first)
    for kind, code in EXIT_CODES:
        if isinstance(error, kind):
            return code
    return 1


def describe(error: MulliganError) -> list[str]:
    """Return the lines that tell the user about ``error``."""
    if isinstance(error, InvalidArgument) and error.message.startswith(error.violations[0].field):
        lines = [f"error: {v.field}: {v.description}" for v in error.violations]
    else:
        lines = [f"error: {error.message}"]
    if isinstance(error, Unavailable) and _is_of_trust(error):
        lines.append("  next: name the CA with --ca at `mulligan login`, or as MULLIGAN_CA")
    if not any("`mulligan" in line for line in lines):
        lines += [f"  next: {step}" for kind, step in _NEXT_STEP if isinstance(error, kind)]
        lines += [f"  next: {see_what_there_is(error)}"] if isinstance(error, NotFound) else []
    return lines


def see_what_there_is(error: NotFound) -> str:
    """Return what shows the objects among which one was looked for."""
    noun = LISTED.get(error.kind)
    if noun is None:
        return "see what there is with the `list` command of that noun"
    return f"see what there is with `mulligan {noun} list`"


def _is_of_trust(error: Unavailable) -> bool:
    from mulligan.client.status import Untrusted  # with it comes gRPC, which most errors do without

    return isinstance(error, Untrusted) and "get the control plane's ca.pem" in error.message


def report(error: BaseException) -> int:
    """Print ``error`` to standard error and return the exit code."""
    found = first_cause(error)
    if isinstance(found, MulliganError):
        lines = [*describe(found), *getattr(found, "__notes__", ())]
    elif isinstance(found, OSError) and found.strerror:
        where = f"{found.filename}: " if found.filename else ""
        lines = [f"error: {where}{found.strerror}"]
    else:
        lines = [
            f"error: unexpected {type(found).__name__}: {found}",
            "  next: this is a defect; run again with MULLIGAN_DEBUG=1 and report the trace",
        ]
    if os.environ.get("MULLIGAN_DEBUG"):
        traceback.print_exception(error)
    print(harmless("\n".join(lines)), file=sys.stderr)  # noqa: T201
    return exit_code(found)


def first_cause(error: BaseException) -> BaseException:
    """Return the error inside nested exception groups, Mulligan's own before any other."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    causes = [first_cause(one) for one in error.exceptions]
    return next((one for one in causes if isinstance(one, MulliganError)), causes[0])
