"""Dry runs: a call as a message to be decided and not carried out."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from grpclib import GRPCError, Status

from mulligan.client.stubs import RoutedStub
from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.proto import v1

Request = TypeVar("Request")


def dry_run_of(service: str, method: str, request: Any) -> Any:
    """Return what a dry run of ``resource`` ``make_claim`` sends; None for what has no dry run."""
    kind = getattr(v1, f"DryRun{service.title()}Request", None)
    if kind is None or method not in kind.__dataclass_fields__:
        return None
    return kind(**{method: request})


async def try_out(call: Callable[[Request], Awaitable[Any]], request: Request) -> v1.DryRunResponse:
    """Return what a stub's call would append, as ``Client.try_out`` says."""
    stub, method = getattr(call, "__self__", None), getattr(call, "__name__", "")
    if not isinstance(stub, RoutedStub):
        raise InvalidArgument("call", "give a method of the client, as client.resource.make_claim")
    service = type(stub).__name__.lower()
    message = dry_run_of(service, method, request)
    if message is None:
        raise InvalidArgument(
            "call", f"{service}.{method} cannot be tried out; docs/api.md lists what can"
        )
    stub_of: Any = stub
    answer: v1.DryRunResponse = await stub_of.dry_run(message)
    return answer


def is_unknown(error: FailedPrecondition) -> bool:
    """Tell whether a call was refused by a service that does not know it, for it is older."""
    cause = error.__cause__
    return isinstance(cause, GRPCError) and cause.status is Status.UNIMPLEMENTED
