"""Errors as an operator reads them: what, and what to do next."""

from mulligan import wording
from mulligan.errors import (
    Conflict,
    DeadlineExceeded,
    Exhausted,
    MulliganError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)

PASSES = (Unavailable, DeadlineExceeded, Exhausted)
"""Errors that pass by themselves: a service that starts again, a busy one, a limit."""

_NEXT: tuple[tuple[type[MulliganError], str], ...] = (
    (NotFound, "it may be gone; r reads everything anew"),
    (PermissionDenied, "your roles do not allow it; see `mulligan whoami`"),
    (Unauthenticated, "log in with `mulligan login`, then start the console again"),
    (Conflict, "somebody else changed it meanwhile; look again and repeat"),
    (Exhausted, "ask for less, or later"),
    (Unavailable, "the console tries again by itself; see `mulligan status`"),
    (DeadlineExceeded, "the outcome may be unknown; look before you repeat it"),
)


def shown(error: BaseException) -> str:
    """Return what went wrong, harmless to a terminal."""
    if isinstance(error, MulliganError):
        return harmless(error.message)
    return harmless(f"unexpected {type(error).__name__}: {error}")


def next_step(error: BaseException) -> str:
    """Return what to do about it; nothing where the message says that."""
    if not isinstance(error, MulliganError):
        return "this is a defect of the console; what you see may be old"
    if "`mulligan" in error.message:
        return ""
    return next((step for kind, step in _NEXT if isinstance(error, kind)), "")


def harmless(text: str) -> str:
    """Return a text without what would steer a terminal; tabs have no width on the screen."""
    return wording.harmless(text, keep="\n")


def first_cause(error: BaseException) -> BaseException:
    """Return the error inside nested exception groups, Mulligan's own before any other."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    causes = [first_cause(one) for one in error.exceptions]
    return next((one for one in causes if isinstance(one, MulliganError)), causes[0])
