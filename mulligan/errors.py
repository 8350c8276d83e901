"""Every error Mulligan raises on purpose.

    MulliganError
    ├── InvalidArgument      the request can never succeed as written; names the field
    ├── NotFound             no such object for this caller
    ├── AlreadyExists        the name or request id is taken
    ├── FailedPrecondition   the object is in the wrong state for this
    ├── Conflict             somebody else changed it first; read again and retry
    ├── Exhausted            no capacity, quota or space is left
    ├── Unauthenticated      no valid token
    ├── PermissionDenied     a valid token that may not do this
    ├── Unavailable          a part we need is away; retry after ``retry_after`` seconds
    ├── DeadlineExceeded     the time allowed ran out
    ├── Corrupt              stored data contradicts itself; the consumer halts
    └── BadConfiguration     a process refuses to start with what it was given

Each maps to one gRPC status, once, in ``mulligan.services.gate.status``.
"""

from collections.abc import Mapping
from typing import NamedTuple


class FieldViolation(NamedTuple):
    """One bad field of a request: its path in the message and what is wrong with it."""

    field: str
    description: str


class MulliganError(Exception):
    """Root of the tree. ``message`` is written for the person who sent the request.

    ``outside`` is what callers who see one project only are told instead; empty: the same.
    """

    outside: str = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidArgument(MulliganError):
    """The request is malformed; ``violations`` names each bad field."""

    def __init__(self, field: str, problem: str, *more: FieldViolation) -> None:
        self.violations = (FieldViolation(field, problem), *more)
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations))


class NotFound(MulliganError):
    """No such object, or none that this caller may know of: the two look the same."""

    def __init__(self, kind: str, key: str) -> None:
        self.kind = kind
        self.key = key
        called = "user data" if kind == "userdata" else kind
        super().__init__(f"{called} {key!r} was not found")


class AlreadyExists(MulliganError):
    """The name, object or request id is taken by something else."""


class FailedPrecondition(MulliganError):
    """The object is not in a state that allows this; the message names the next step."""


class Conflict(MulliganError):
    """A stream the command had read moved before the append; nothing was written."""


class Exhausted(MulliganError):
    """No capacity, quota or storage is left for this; ``facts`` say why to a program."""

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.facts = dict(facts or {})


class Unauthenticated(MulliganError):
    """There is no token, or it is not valid (any more)."""


class PermissionDenied(MulliganError):
    """The caller is known and may not do this."""


class Unavailable(MulliganError):
    """A part we depend on is away; nothing is lost, try again in ``retry_after`` seconds."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(MulliganError):
    """The time allowed for the call ran out; the outcome may be unknown."""


class BadConfiguration(MulliganError):
    """A process cannot start with this configuration; the message names the place and the cure."""


class Corrupt(MulliganError):
    """Stored data contradicts itself. The consumer that found it halts and says where."""
