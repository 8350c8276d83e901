"""What a gRPC status means to a caller: one table from the wire to ``mulligan.errors``."""

import ssl
from collections.abc import Sequence
from typing import Any

from grpclib import GRPCError, Status
from grpclib.exceptions import ProtocolError, StreamTerminatedError

from mulligan.errors import (
    AlreadyExists,
    Conflict,
    Corrupt,
    DeadlineExceeded,
    Exhausted,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    MulliganError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)

BROKEN = (OSError, StreamTerminatedError, ProtocolError, TimeoutError)
"""What the transport raises when an instance is away, or goes away under a call."""


class Untrusted(Unavailable):
    """The other side is not whom we trust; trying again cannot help."""


_PLAIN: dict[Status, type[MulliganError]] = {
    Status.ALREADY_EXISTS: AlreadyExists,
    Status.FAILED_PRECONDITION: FailedPrecondition,
    Status.OUT_OF_RANGE: FailedPrecondition,
    Status.ABORTED: Conflict,
    Status.UNAUTHENTICATED: Unauthenticated,
    Status.PERMISSION_DENIED: PermissionDenied,
    Status.DEADLINE_EXCEEDED: DeadlineExceeded,
    Status.CANCELLED: Unavailable,
    Status.DATA_LOSS: Corrupt,
}


def to_error(error: GRPCError, route: str) -> MulliganError:
    """Return the error that a service meant by its status and ``google.rpc`` details."""
    message = error.message or f"{route} failed with {error.status.name}"
    details = _details(error)
    match error.status:
        case Status.INVALID_ARGUMENT:
            return _invalid(message, details)
        case Status.NOT_FOUND:
            return _not_found(message, details)
        case Status.RESOURCE_EXHAUSTED:
            return Exhausted(message, retry_after(error), _facts(details))
        case Status.UNAVAILABLE:
            return Unavailable(message, retry_after(error) or 1.0)
        case Status.UNIMPLEMENTED:
            return FailedPrecondition(
                f"the service does not know {route}: it is older than this client; upgrade it"
            )
        case status if status in _PLAIN:
            return _PLAIN[status](message)
        case status:
            return MulliganError(
                f"{message} ({status.name.lower()} from {route}); see the service's log"
            )


_OUT_OF_TIME = frozenset({9, 10})
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


def transport_error(error: Exception, address: str, ca: str) -> Unavailable:
    """Return what a broken connection means to the person at the other end of it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OUT_OF_TIME:
            return Untrusted(
                f"the certificate of {address} is not trusted ({error.verify_message}): see to the"
                " clocks of both hosts, or run `mulligan certificate renew` there"
            )
        return Untrusted(
            f"the certificate of {address} is not trusted ({error.verify_message}): "
            f"the context's CA is {ca or 'not set'}; get the control plane's ca.pem"
        )
    if isinstance(error, ssl.SSLError) and (why := _no_tls(error)):
        return Untrusted(f"no TLS with {address}: {why}")
    if isinstance(error, TimeoutError):
        return Unavailable(f"{address or 'the control plane'} did not answer in time")
    if isinstance(error, ConnectionRefusedError):
        return Unavailable(f"nothing listens at {address}: Mulligan does not run there")
    return Unavailable(f"the connection to {address} failed: {str(error) or type(error).__name__}")


def _no_tls(error: ssl.SSLError) -> str:
    """Return why two sides that were both there did not agree on TLS; empty if one went away."""
    reason = error.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        return "it speaks plain text; name it as http://HOST:PORT if that is meant"
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
        return f"it refuses our certificate ({reason}); get one of the region's CA"
    if "PROTOCOL" in reason or "HANDSHAKE" in reason or "CIPHER" in reason:
        return f"it is too old or too new for us ({reason})"
    return ""


def retry_after(error: GRPCError) -> float | None:
    """Return the seconds that the service asked us to wait, if it did."""
    from google.rpc import error_details_pb2 as rpc  # costly, and for errors only

    for detail in _details(error):
        if isinstance(detail, rpc.RetryInfo):
            return float(detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9)
    return None


def _details(error: GRPCError) -> Sequence[Any]:
    return error.details if isinstance(error.details, list | tuple) else ()


def _invalid(message: str, details: Sequence[Any]) -> InvalidArgument:
    from google.rpc import error_details_pb2 as rpc

    violations = [
        FieldViolation(violation.field, violation.description)
        for detail in details
        if isinstance(detail, rpc.BadRequest)
        for violation in detail.field_violations
    ]
    if violations:
        first, *more = violations
        return InvalidArgument(first.field, first.description, *more)
    error = InvalidArgument("request", message)
    error.message = message
    return error


def _facts(details: Sequence[Any]) -> dict[str, str]:
    """Return what says to a program why there was no room."""
    from google.rpc import error_details_pb2 as rpc

    found = [detail for detail in details if isinstance(detail, rpc.ErrorInfo)]
    return dict(found[0].metadata) if found else {}


def _not_found(message: str, details: Sequence[Any]) -> NotFound:
    from google.rpc import error_details_pb2 as rpc

    kind, key = "object", ""
    for detail in details:
        if isinstance(detail, rpc.ResourceInfo):
            kind, key = detail.resource_type, detail.resource_name
    error = NotFound(kind, key)
    error.message = message
    return error
