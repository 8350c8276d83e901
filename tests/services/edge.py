"""Bare gRPC calls to a region's services: one attempt each, as any client in any language.

Like any good one, each call says which position its maker has seen.
"""

from collections.abc import Awaitable, Mapping
from typing import Any, NamedTuple

import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from grpclib import GRPCError, Status
from grpclib.client import Channel

from mulligan import tracing
from mulligan.model import POSITION_HEADER
from mulligan.proto import v1
from tests.e2e.region import RunningRegion


class Refusal(NamedTuple):
    """How a call was refused: the status, the fields it names, and what it says."""

    status: Status
    fields: tuple[str, ...]
    message: str
    retry_after: float | None = None


class Edge:
    """The services of a region, one connection each; ``close`` closes them."""

    def __init__(self, region: RunningRegion) -> None:
        self.region = region
        self._channels: dict[str, Channel] = {}
        self._seen = 0

    def channel(self, service: str) -> Channel:
        if service not in self._channels:
            self._channels[service] = self.region.channel(service)
        return self._channels[service]

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    async def call(
        self,
        method: str,
        message: Any,
        token: str = "",
        *,
        timeout: float = 20.0,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """Call ``Service.method_name``; with a token, as its bearer."""
        service, _, name = method.partition(".")
        stub = getattr(v1, f"{service.capitalize()}Stub")(self.channel(service))
        sent = {**self.metadata(token), **(metadata or {})}
        answer = await getattr(stub, name)(message, metadata=sent, timeout=timeout)
        position = getattr(answer, "position", None)
        if isinstance(position, v1.Position):
            self._seen = max(self._seen, position.seq)
        return answer

    def metadata(self, token: str) -> dict[str, str]:
        """Return what goes with a call: the token, and the position seen by the calls before."""
        bearer = {"authorization": f"Bearer {token}"} if token else {}
        trace = tracing.traceparent()
        if trace:
            bearer[tracing.HEADER] = trace
        return {**bearer, POSITION_HEADER: f"{self.region.config.region}:{self._seen}"}

    async def token(self, account: str, secret: str, project: str = "") -> str:
        request = v1.LoginRequest(account=account, secret=secret, project=project)
        return str((await self.call("iam.login", request)).access_token)

    async def admin(self, project: str = "") -> str:
        return await self.token("admin", self.region.admin_secret, project)


async def refusal(call: Awaitable[Any]) -> Refusal:
    """Return how the call was refused; fail if it was not."""
    with pytest.raises(GRPCError) as raised:
        await call
    return explained(raised.value)


def explained(error: GRPCError) -> Refusal:
    details = error.details if isinstance(error.details, list | tuple) else ()
    fields: list[str] = []
    retry_after = None
    for detail in details:
        if isinstance(detail, BadRequest):
            fields += [violation.field for violation in detail.field_violations]
        if isinstance(detail, RetryInfo):
            retry_after = detail.retry_delay.ToTimedelta().total_seconds()
    message = error.message or ""
    assert message, "a refusal says why"
    return Refusal(error.status, tuple(fields), message, retry_after)
