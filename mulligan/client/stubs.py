"""The generated stubs, each call of which goes through ``Calls``."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from betterproto2.grpclib import ServiceStub

from mulligan.client.calls import Calls
from mulligan.proto import v1


class RoutedStub(ServiceStub):
    """What the generated methods call, sent to whichever instance answers.

    ``timeout`` of a call is the time for all its attempts; ``deadline`` and ``metadata`` are not
    for callers of this client, and refused.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def _unary_unary(
        self,
        route: str,
        request: Any,
        response_type: type[Any],
        *,
        timeout: float | None = None,
        deadline: Any = None,
        metadata: Any = None,
    ) -> Any:
        _refuse(deadline, metadata)
        return await self._calls.unary(route, request, response_type, timeout)

    async def _unary_stream(
        self,
        route: str,
        request: Any,
        response_type: type[Any],
        *,
        timeout: float | None = None,
        deadline: Any = None,
        metadata: Any = None,
    ) -> AsyncIterator[Any]:
        _refuse(deadline, metadata)
        answers = self._calls.stream(route, request, response_type, timeout)
        async with aclosing(answers) as messages:
            async for message in messages:
                yield message


class Iam(RoutedStub, v1.IamStub):
    """Accounts, projects, roles and tokens."""


class Meta(RoutedStub, v1.MetaStub):
    """Names of objects."""


class Resource(RoutedStub, v1.ResourceStub):
    """Providers, inventories, groups, claims and reservations."""


class Control(RoutedStub, v1.ControlStub):
    """Machines, images and BMC credentials."""


class Executor(RoutedStub, v1.ExecutorStub):
    """What only a process on the BMCs' network can answer."""


class Log(RoutedStub, v1.LogStub):
    """The event log."""


class Projector(RoutedStub, v1.ProjectorStub):
    """The read models."""


class Catalog(RoutedStub, v1.CatalogStub):
    """Where everything is."""


def _refuse(deadline: object, metadata: object) -> None:
    if deadline is not None or metadata is not None:
        raise TypeError("the smart client takes a timeout, and neither a deadline nor metadata")


class Archiver(RoutedStub, v1.ArchiverStub):
    """The log's archive."""
