"""The smart client for programs without an event loop: the same methods, and they block.

Any number of threads may use one client. All clients of a process share one background thread.
"""

import os
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio.to_thread

from mulligan.client import client as asynchronous
from mulligan.client.calls import PATIENCE, Shown
from mulligan.client.context import Context
from mulligan.client.deeds import MOVING_S
from mulligan.client.portal import Portal, Stream, portal
from mulligan.client.regions import DEADLINE_S, Outcome
from mulligan.client.sync_stubs import Stubs
from mulligan.client.tokens import TokenCache, Tokens
from mulligan.proto import v1

__all__ = ["Client", "Regions", "Stream"]

Request = TypeVar("Request")
Result = TypeVar("Result")


class Client(Stubs):
    """A control plane as one account sees it; close it, or use it as a context manager.

    What is left open is closed when the process ends. The arguments are those of
    ``mulligan.client.Client``.
    """

    def __init__(
        self,
        context: Context,
        *,
        secret: str = "",
        cache: TokenCache | None = None,
        patience: float = PATIENCE,
        allow_stale: bool = False,
        at: str = "",
        config: Path | None = None,
    ) -> None:
        client = asynchronous.Client(
            context,
            secret=secret,
            cache=cache,
            patience=patience,
            allow_stale=allow_stale,
            at=at,
            config=config,
        )
        self._adopt(portal(), client, owner=True)

    def _adopt(self, portal: Portal, client: asynchronous.Client, *, owner: bool) -> None:
        self._portal = portal
        self._client = client
        self._owner = owner
        if owner:
            portal.call(client.__aenter__)
            portal.close_at_exit(client.aclose)
        self._bind(portal, client)
        self.names = Names(portal, client)
        self.regions = Regions(portal, client)

    @classmethod
    def _of(cls, portal: Portal, client: asynchronous.Client, *, owner: bool = False) -> "Client":
        made = cls.__new__(cls)
        made._adopt(portal, client, owner=owner)
        return made

    @classmethod
    def from_config(
        cls,
        context: str = "",
        *,
        project: str = "",
        patience: float = PATIENCE,
        environ: Mapping[str, str] = os.environ,
    ) -> "Client":
        """Return a client of a context of the user's file, by default the current one.

        Raise NotFound for an unknown context, FailedPrecondition when there is none.
        """
        client = asynchronous.Client.from_config(
            context, project=project, patience=patience, environ=environ
        )
        return cls._of(portal(), client, owner=True)

    def run(self, function: "Callable[[asynchronous.Client], Awaitable[Result]]") -> Result:
        """Return what an async function makes of the async client, as of ``placing.place``."""

        async def call() -> Result:
            return await function(self._client)

        return self._portal.call(call)

    def at(self, moment: str) -> "Client":
        """Return a view of the same control plane as of an earlier entry or time."""
        return self._of(self._portal, self._client.at(moment))

    @property
    def context(self) -> Context:
        """Where the control plane is, and who we are there."""
        return self._client.context

    @property
    def region(self) -> str:
        """The region the client talks to; empty until it has asked."""
        return self._client.region

    @property
    def positions(self) -> dict[str, int]:
        """The highest log position seen, by region."""
        return self._client.positions

    @property
    def shown(self) -> Shown | None:
        """The entry as of which the latest call was answered; None for the present."""
        return self._client.shown

    def endpoints(self) -> list[v1.Endpoint]:
        """Return every endpoint that the Catalog lists now."""
        return self._portal.call(self._client.endpoints)

    def try_out(self, call: Callable[[Request], Any], request: Request) -> v1.DryRunResponse:
        """Return what a call would append to the log, as ``try_out(client.iam.bind_role, …)``.

        Nothing is done. Raise as the async client does.
        """
        stub = getattr(getattr(call, "__self__", None), "_stub", None)
        name = getattr(call, "__name__", "")
        return self._portal.call(self._client.try_out, getattr(stub, name, call), request)

    def log_in(self) -> Tokens:
        """Log in with the secret or certificate now; raise Unauthenticated when it is refused."""
        return self._portal.call(self._client.log_in)

    def log_out(self, *, everywhere: bool = False) -> None:
        """End the session, or all of the account's, and forget the tokens."""
        self._portal.call(self._client.log_out, everywhere=everywhere)

    def machines(
        self,
        *,
        states: Collection[v1.MachineState] = (),
        claim: str = "",
        under: str = "",
        name: str = "",
        limit: int = 0,
    ) -> Stream[v1.Machine]:
        """Return the machines that suit, one after the other; ``limit`` 0 means all of them."""
        return self._portal.stream(
            self._client.machines(states=states, claim=claim, under=under, name=name, limit=limit)
        )

    def claims(
        self, *, states: Collection[v1.ClaimState] = (), provider: str = "", limit: int = 0
    ) -> Stream[v1.Claim]:
        """Return claims, by default those that are reserved or active."""
        return self._portal.stream(
            self._client.claims(states=states, provider=provider, limit=limit)
        )

    def claim(
        self,
        resources: Mapping[str, int],
        *,
        lasting: timedelta | None = None,
        start: datetime | None = None,
        count: int = 1,
        require: Collection[str] = (),
        name: str = "",
        request_id: str = "",
    ) -> v1.Claim:
        """Claim ``count`` times these amounts, each of one provider, as the async client does."""
        return self._portal.call(
            self._client.claim,
            resources,
            lasting=lasting,
            start=start,
            count=count,
            require=require,
            name=name,
            request_id=request_id,
        )

    def deploy(
        self,
        claim: v1.Claim | str,
        image: str,
        *,
        machine: str = "",
        user_data: str = "",
        hostname: str = "",
        timeout: float = MOVING_S,
    ) -> v1.Machine:
        """Boot an image on a claim's machine, and return it once it is active."""
        return self._portal.call(
            self._client.deploy,
            claim,
            image,
            machine=machine,
            user_data=user_data,
            hostname=hostname,
            timeout=timeout,
        )

    def release(self, machine: str) -> v1.Machine:
        """Give a machine and its claim back; it is cleaned and offered again, without us."""
        return self._portal.call(self._client.release, machine)

    def wait_for(
        self, machine: str, *states: v1.MachineState, timeout: float = MOVING_S
    ) -> v1.Machine:
        """Return a machine once it rests in one of these states, or at all if none is named."""
        return self._portal.call(self._client.wait_for, machine, *states, timeout=timeout)

    def close(self) -> None:
        """Close the connections; a view, and a client of ``regions``, does nothing.

        Nor does a forked child, for the connections are its parent's.
        """
        if self._owner and self._portal.is_ours:
            self._portal.forget(self._client.aclose)
            self._portal.call(self._client.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Names:
    """Names of objects both ways, as ``mulligan.client.names`` keeps them."""

    def __init__(self, portal: Portal, client: asynchronous.Client) -> None:
        self._portal = portal
        self._names = client.names

    def resolve(self, kind: str, name: str, project: str = "") -> str:
        """Return the UUID of a name or slug; raise NotFound when nothing has it."""
        return self._portal.call(self._names.resolve, kind, name, project)

    def describe(self, uuids: Iterable[str]) -> dict[str, v1.Name]:
        """Return what objects are called, by UUID; those without a name are left out."""
        return self._portal.call(self._names.describe, uuids)


class Regions:
    """The regions that can be reached from a client's own."""

    def __init__(self, portal: Portal, client: asynchronous.Client) -> None:
        self._portal = portal
        self._regions = client.regions

    def list(self) -> Sequence[v1.Region]:
        """Return the regions that home knows, those that these know, and so on."""
        return self._portal.call(self._regions.list)

    def client(self, name: str) -> Client:
        """Return the client of a region; it ends with its home's."""
        return Client._of(self._portal, self._portal.call(self._regions.client, name))

    def each(
        self,
        names: Iterable[str],
        call: Callable[[Client], Result],
        deadline_s: float = DEADLINE_S,
    ) -> Sequence[Outcome[Result]]:
        """Make a call in several regions at once, each in a thread; return what became of it.

        After ``deadline_s`` seconds a region is given up; its thread ends with its call.
        """

        async def one(client: asynchronous.Client) -> Result:
            blocking = Client._of(self._portal, client)
            return await anyio.to_thread.run_sync(call, blocking, abandon_on_cancel=True)

        return self._portal.call(self._regions.each, names, one, deadline_s)
