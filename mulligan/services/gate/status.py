"""Each error becomes a gRPC status here, and nowhere else."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo, RetryInfo
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import encode_grpc_message

from mulligan import errors
from mulligan.log.protocol import Fenced, TailTooShort

STATUS: Mapping[type[Exception], Status] = {
    errors.InvalidArgument: Status.INVALID_ARGUMENT,
    errors.NotFound: Status.NOT_FOUND,
    errors.AlreadyExists: Status.ALREADY_EXISTS,
    errors.FailedPrecondition: Status.FAILED_PRECONDITION,
    errors.Conflict: Status.ABORTED,
    errors.Exhausted: Status.RESOURCE_EXHAUSTED,
    errors.Unauthenticated: Status.UNAUTHENTICATED,
    errors.PermissionDenied: Status.PERMISSION_DENIED,
    errors.Unavailable: Status.UNAVAILABLE,
    errors.DeadlineExceeded: Status.DEADLINE_EXCEEDED,
    errors.Corrupt: Status.DATA_LOSS,
    Fenced: Status.UNAVAILABLE,
    TailTooShort: Status.UNAVAILABLE,
}


MOST_TEXT, MOST_FACT, MOST_VIOLATIONS, MOST_FACTS = 2_400, 300, 8, 16
"""Errors travel in headers, of which many clients take 8 KiB: bytes of the text and of each fact.

A text may quote what the caller sent, which may be of any length. Of the facts most are numbers.
"""


def shortened(text: str, most: int) -> str:
    """Return the text, cut where its form in a header would have more than ``most`` bytes."""
    if len(text) <= most // 12:  # no character takes more
        return text
    whole = text
    while len(encode_grpc_message(text)) > most:
        text = text[: min(most, len(text) * 3 // 4)]
    return text if text == whole else f"{text}…"


def to_grpc(error: Exception) -> GRPCError | None:
    """Return the gRPC form of one of our errors, None for any other exception."""
    for kind in type(error).__mro__:
        status = STATUS.get(kind)
        if status is not None:
            return GRPCError(status, shortened(str(error), MOST_TEXT), _details(error))
    return None


def _details(error: Exception) -> list[Any] | None:
    if isinstance(error, errors.InvalidArgument):
        violations = [
            BadRequest.FieldViolation(
                field=shortened(v.field, MOST_FACT), description=shortened(v.description, MOST_FACT)
            )
            for v in error.violations[:MOST_VIOLATIONS]
        ]
        return [BadRequest(field_violations=violations)]
    found: list[Any] = []
    if isinstance(error, errors.NotFound) and _says_no_more(error):
        key = shortened(error.key, MOST_FACT)
        found.append(ResourceInfo(resource_type=error.kind, resource_name=key))
    facts = getattr(error, "facts", None)
    if facts:
        short = {k: shortened(v, MOST_FACT) for k, v in list(facts.items())[:MOST_FACTS]}
        found.append(ErrorInfo(reason="NO_FIT", domain="mulligan", metadata=short))
    retry_after = getattr(error, "retry_after", None)
    if retry_after is None and isinstance(error, Fenced | TailTooShort):
        retry_after = 1.0
    if retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(int(retry_after * 1000))
        found.append(RetryInfo(retry_delay=delay))
    return found or None


def _says_no_more(error: errors.NotFound) -> bool:
    """Tell whether kind and key are all that the text says: what it leaves out stays out."""
    return str(error) == errors.NotFound(error.kind, error.key).message
