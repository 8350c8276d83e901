"""Each error becomes a gRPC status here, and nowhere else."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpclib.const import Status
from grpclib.exceptions import GRPCError

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


def to_grpc(error: Exception) -> GRPCError | None:
    """Return the gRPC form of one of our errors, None for any other exception."""
    for kind in type(error).__mro__:
        status = STATUS.get(kind)
        if status is not None:
            return GRPCError(status, str(error), _details(error))
    return None


def _details(error: Exception) -> list[Any] | None:
    if isinstance(error, errors.InvalidArgument):
        violations = [
            BadRequest.FieldViolation(field=v.field, description=v.description)
            for v in error.violations
        ]
        return [BadRequest(field_violations=violations)]
    found: list[Any] = []
    facts = getattr(error, "facts", None)
    if facts:
        found.append(ErrorInfo(reason="NO_FIT", domain="mulligan", metadata=facts))
    retry_after = getattr(error, "retry_after", None)
    if retry_after is None and isinstance(error, Fenced | TailTooShort):
        retry_after = 1.0
    if retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(int(retry_after * 1000))
        found.append(RetryInfo(retry_delay=delay))
    return found or None
