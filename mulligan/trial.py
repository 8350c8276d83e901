"""Dry runs: whether what runs now only tries a command out, so that nothing may be left behind.

It is a property of the task, as its trace is: a service sets it around a call, and whatever could
store something asks here, at the door itself. So a method need not know of dry runs to be safe in
one, and one that would store something on a way of its own is stopped, and says so.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mulligan.errors import FailedPrecondition

_trial: ContextVar[bool] = ContextVar("trial", default=False)


@contextmanager
def trying_out() -> Iterator[None]:
    """Run the block as a dry run, with the tasks that it starts."""
    token = _trial.set(True)
    try:
        yield
    finally:
        _trial.reset(token)


def is_trial() -> bool:
    """Tell whether the present task is a dry run."""
    return _trial.get()


def refuse_in_trial(what: str) -> None:
    """Raise FailedPrecondition in a dry run, of ``what`` would have been left behind by it."""
    if _trial.get():
        raise FailedPrecondition(
            f"a dry run would have had to {what}, which it must not; nothing was done. This call"
            " cannot be tried out: please report it"
        )
