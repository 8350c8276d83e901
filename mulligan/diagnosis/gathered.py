"""Asking a region how it is: everything at once, each part with its deadline.

What hangs costs its own answer and nobody else's; whatever is away, it is over in some 3 s.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio

from mulligan.client.status import Untrusted
from mulligan.diagnosis.found import Seen, Status
from mulligan.diagnosis.parts import Part, parts, troubles
from mulligan.diagnosis.peers import look_at_peers
from mulligan.errors import (
    BadConfiguration,
    Corrupt,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    MulliganError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)

if TYPE_CHECKING:
    from mulligan.client.client import Client
    from mulligan.proto.v1 import Endpoint

DOOR_S = 2.0
"""Seconds in which any address has to say which services there are."""
PART_S = 1.5
"""Seconds that each part has to answer; all are asked at once."""
CALL = 0.9
"""The part of them that a call has: one that is over by itself has its instance passed over."""
ALIVE_S = 0.75
"""Seconds that an instance has to answer at all, where nobody could log in; asked meanwhile."""
NO_IAM_S = 0.4
"""Seconds for finding a token where no iam is registered: one that is cached is there at once."""


_REFUSALS = (
    BadConfiguration,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
"""What says of a login that it is we who are wrong; the rest says that iam is."""


_LOOK = "see whether its processes run (`mulligan up`, `mulligan serve`), and what their logs say"


async def gather(client: "Client", *, all_of_it: bool = True) -> Status:
    """Return what the parts of a region say; what cannot be had is noted as that.

    Without ``all_of_it`` these are its instances, log, archive and read models. Raise Unavailable
    when no address says where the services are, Unauthenticated when the login is refused.
    """
    services = await _listed(client)
    found = Status(services=services, region=client.region)
    asking = _Asking(client, found)
    wanted = [*parts(client, found), *(troubles(client, found) if all_of_it else ())]
    async with anyio.create_task_group() as tasks:
        for endpoint in services:
            tasks.start_soon(asking.instance, endpoint)
        await asking.log_in()
        if not found.unknown and asking.refused is None:
            for service, part in wanted:
                tasks.start_soon(asking.part, service, part)
            if all_of_it:
                tasks.start_soon(look_at_peers, client, found, PART_S)
    if asking.refused is not None:
        raise asking.refused
    return found


async def _listed(client: "Client") -> "list[Endpoint]":
    try:
        with anyio.fail_after(DOOR_S):
            return await client.endpoints()
    except Untrusted:
        raise
    except Unavailable as error:
        raise Unavailable(f"{error.message}; {_LOOK}") from error
    except TimeoutError:
        where = ", ".join(client.context.address)
        raise Unavailable(
            f"no answer within {DOOR_S:g} s from {where}: what listens there hangs, or is not"
            " Mulligan; see its log"
        ) from None


class _Asking:
    """Asks parts and instances; ``refused`` is why our login does not count."""

    def __init__(self, client: "Client", found: Status) -> None:
        self.refused: MulliganError | None = None
        self._client = client
        self._found = found
        self._decided = anyio.Event()

    async def log_in(self) -> None:
        """Log in before parts are asked, so that none is taken for slow because of that."""
        found = self._found
        there = any(one.service == "iam" for one in found.services)
        try:
            with anyio.fail_after(PART_S if there else NO_IAM_S):
                await self._client.be_known()
        except TimeoutError:
            silence = f"no answer within {PART_S:g} s"
            found.unknown = silence if there else "no iam service is registered"
        except _REFUSALS as error:
            self.refused = error
        except MulliganError as error:
            found.unknown = error.message
        self._decided.set()

    async def part(self, service: str, part: Part) -> None:
        """Ask a part, if its service is there: twice where another instance may answer."""
        count = sum(1 for one in self._found.services if one.service == service)
        tries = min(count, 2)
        for left in reversed(range(tries)):
            try:
                with anyio.fail_after(PART_S / tries):
                    await part(CALL * PART_S / tries)
            except (PermissionDenied, NotFound, FailedPrecondition):
                return  # not for this account to see, or a release that does not know the question
            except Unauthenticated as error:
                self.refused = error
                return
            except Corrupt:
                return  # its instances tell of that
            except (MulliganError, TimeoutError) as error:
                if not left:
                    self._found.silent[service] = _why(error, PART_S)
            else:
                return

    async def instance(self, endpoint: "Endpoint") -> None:
        """Ask one instance what it says of itself; while we are unknown, whether it answers."""
        with anyio.move_on_after(ALIVE_S):
            await self._decided.wait()
        early = not self._decided.is_set()
        if early:
            await self._ask(endpoint, self._answers, ALIVE_S)
            await self._decided.wait()
        if self.refused is not None:
            return
        if not self._found.unknown:
            await self._ask(endpoint, self._tells, PART_S)
        elif not early:
            await self._ask(endpoint, self._answers, ALIVE_S)

    async def _ask(
        self,
        endpoint: "Endpoint",
        question: "Callable[[Client, float], Awaitable[None]]",
        patience: float,
    ) -> None:
        view = self._client.instance(endpoint.address, patience=patience)
        self._found.away.pop(endpoint.instance, None)
        try:
            with anyio.fail_after(patience):
                await question(view, patience)
        except (PermissionDenied, NotFound, FailedPrecondition, Unauthenticated):
            return  # not for this account to see, or a release that does not know the question
        except Corrupt as error:
            why = error.message.partition(" has halted: ")[2]
            self._found.halted[endpoint.instance] = why or error.message
        except (MulliganError, TimeoutError) as error:
            self._found.away[endpoint.instance] = _why(error, patience)

    async def _tells(self, view: "Client", patience: float) -> None:
        from mulligan.proto.v1 import GetInstanceRequest

        asked = datetime.now(UTC)
        said = await view.catalog.get_instance(GetInstanceRequest(), timeout=patience)
        middle = asked + (datetime.now(UTC) - asked) / 2
        skew = (said.now - middle).total_seconds() if said.now is not None else 0.0
        self._found.instances.append(Seen(said, skew))

    async def _answers(self, view: "Client", patience: float) -> None:
        from mulligan.proto.v1 import ListEndpointsRequest

        await view.catalog.list_endpoints(ListEndpointsRequest(), timeout=patience)


def _why(error: Exception, patience: float) -> str:
    if isinstance(error, DeadlineExceeded | TimeoutError):
        return f"no answer within {patience:g} s"
    return error.message if isinstance(error, MulliganError) else str(error)
