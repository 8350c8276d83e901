"""The client itself: a context in, the services' methods out."""

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from mulligan.client.calls import PATIENCE, Calls, Shown
from mulligan.client.channels import Channels
from mulligan.client.context import Context, choose_context, config_path, contexts_by_region
from mulligan.client.deeds import Deeds
from mulligan.client.directory import Directory
from mulligan.client.dry_run import try_out
from mulligan.client.identity import Identity
from mulligan.client.names import MindfulCalls, Names
from mulligan.client.one_instance import OneInstance
from mulligan.client.positions import Positions
from mulligan.client.regions import Regions
from mulligan.client.stubs import (
    Archiver,
    Catalog,
    Control,
    Executor,
    Iam,
    Log,
    Meta,
    Projector,
    Resource,
)
from mulligan.client.tokens import POSITION_LIFE, TokenCache, Tokens
from mulligan.client.watching import Watcher
from mulligan.errors import Unauthenticated
from mulligan.proto.v1 import DryRunResponse, Endpoint, LoginRequest, LogoutRequest, Region

PLAINTEXT = "http://"
Request = TypeVar("Request")


class Client(Deeds):
    """A control plane as one account sees it; use it as an async context manager.

    Nothing is sent before the first call. Inside ``async with`` the first call begins to watch
    where the services are; without it, that is asked when an instance fails. ``patience`` is how
    many seconds a call waits out restarts; ``cache`` keeps tokens and positions between processes
    (default: it does not); ``allow_stale`` lets reads answer from a lagging read model. An address
    that begins with ``http://`` does without TLS, for all of them. With ``at`` everything is read
    as of an earlier entry (its number) or time (as in RFC 3339), and what does not only read is
    refused.
    ``config`` is the file whose contexts say how other regions are reached, and as whom; ``ca_pem``
    stands in for the context's CA file.
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
        ca_pem: str = "",
    ) -> None:
        self.context = context
        self._secret = secret
        self._config = config
        self._at = at
        self._patience = patience
        self._allow_stale = allow_stale
        self._owner = True
        self._watcher: Watcher | None = None
        self._cache = cache or TokenCache.none()
        plaintext = any(address.startswith(PLAINTEXT) for address in context.address)
        self._plaintext = plaintext
        seeds = [address.removeprefix(PLAINTEXT) for address in context.address]
        self._channels = Channels(
            context.ca,
            ca_pem=ca_pem,
            cert=context.cert,
            key=context.key,
            plaintext=plaintext,
        )
        self._directory = Directory(seeds, self._channels, context.region)
        self._recalled = self._remembered()
        self._positions = Positions(self._recalled, allow_stale=allow_stale)
        anonymous = Calls(self._directory, self._channels, self._positions, patience=patience)
        door = Iam(anonymous)
        self._identity = Identity(
            LoginRequest(account=context.account, secret=secret, project=context.project),
            login=door.login,
            refresh=door.refresh,
            cache=self._cache,
            certificate=context.cert,
        )
        self.regions = Regions(self, self._elsewhere, self._contexts)
        self._bind(at)

    def _bind(self, at: str) -> None:
        """Make the stubs, for the present or for a moment."""
        self._calls = calls = MindfulCalls(
            self._directory,
            self._channels,
            self._positions,
            identity=self._identity,
            patience=self._patience,
            at=at,
        )
        self.iam = Iam(calls)
        self.meta = Meta(calls)
        self.names = calls.names = Names(self.meta)
        self.resource = Resource(calls)
        self.control = Control(calls)
        self.executor = Executor(calls)
        self.log = Log(calls)
        self.projector = Projector(calls)
        self.archiver = Archiver(calls)
        self.catalog = Catalog(calls)

    def at(self, moment: str) -> "Client":
        """Return a view of the same control plane as of an earlier entry or time, empty for now.

        It shares connections and identity, and ends with this client. A view that is to be of one
        entry throughout names it by its number: a time yet to come stands for whatever is newest.
        """
        view = copy(self)
        view._owner = False
        view._bind(moment)
        return view

    def instance(self, address: str, *, patience: float = 3.0) -> "Client":
        """Return a view whose every call goes to one instance, of whichever service it is.

        It shares connections and identity, and ends with this client.
        """
        view = copy(self)
        view._owner = False
        view._patience = patience
        view._directory = OneInstance(address, self._channels, self.region)
        view._bind("")
        return view

    @property
    def shown(self) -> Shown | None:
        """The entry as of which the latest call was answered; None for the present."""
        return self._calls.shown

    @classmethod
    def from_config(
        cls,
        context: str = "",
        *,
        project: str = "",
        patience: float = PATIENCE,
        environ: Mapping[str, str] = os.environ,
    ) -> Self:
        """Return a client of a context of the user's file, by default the current one.

        What `mulligan login` cached serves it too, and MULLIGAN_ADDRESS and the like go first.
        Raise NotFound for an unknown context, FailedPrecondition when there is none.
        """
        path = config_path(environ)
        chosen = choose_context(path, context, overrides={"project": project}, environ=environ)
        return cls(
            chosen.context,
            secret=chosen.secret,
            cache=TokenCache.at(chosen.name, environ),
            patience=patience,
            config=path,
        )

    @classmethod
    async def connect(cls, context: Context, *, secret: str = "") -> Self:
        """Return a client that has found the services and logged in; the caller closes it."""
        client = cls(context, secret=secret)
        try:
            await client.endpoints()
            await client._identity.access_token()
        except BaseException:
            client.close()
            raise
        return client

    @property
    def region(self) -> str:
        """The region the client talks to; empty until it has asked."""
        return self._directory.region

    @property
    def may_log_in(self) -> bool:
        """Whether the context says who we are; if not, only public calls are answered."""
        return bool(self.context.account or self.context.cert)

    @property
    def positions(self) -> dict[str, int]:
        """The highest log position seen, by region."""
        return dict(self._positions.seen)

    async def endpoints(self) -> list[Endpoint]:
        """Return every endpoint that the Catalog lists now."""
        return await self._directory.endpoints()

    def instances(self, service: str) -> list[str]:
        """Return the addresses among which calls of a service are shared out now."""
        return self._directory.serving(service)

    async def try_out(
        self, call: Callable[[Request], Awaitable[Any]], request: Request
    ) -> DryRunResponse:
        """Return what a call would append to the log, as ``try_out(client.iam.bind_role, …)``.

        Nothing is done. Raise what the call would raise; InvalidArgument for one that cannot be
        tried out; FailedPrecondition where the service is too old to.
        """
        return await try_out(call, request)

    async def be_known(self) -> None:
        """Have a token that is good for a while, by a login if need be; raise what that raises."""
        await self._identity.access_token()

    async def log_in(self) -> Tokens:
        """Log in with the secret or certificate now; raise Unauthenticated when it is refused."""
        return await self._identity.log_in()

    async def log_out(self, *, everywhere: bool = False) -> None:
        """End the session, or all of the account's, and forget the tokens whatever comes of it.

        Raise what the call raises; a session that is over already is none of it.
        """
        try:
            if self._identity.tokens is not None:
                await self.iam.logout(LogoutRequest(everywhere=everywhere))
        except Unauthenticated:
            pass
        finally:
            self._identity.forget()

    def close(self) -> None:
        """Close the connections and keep what later processes should know; a view does nothing."""
        if not self._owner:
            return
        self.regions.close()
        self._channels.close()
        if self.positions != self._recalled:
            cached = msgspec.structs.replace(
                self._cache.load(), positions=self.positions, positions_at=time.time()
            )
            self._cache.store(cached)

    async def aclose(self) -> None:
        """Close as ``close`` does, and return when nothing of this client runs any more."""
        if self._owner:
            await self.regions.aclose()
            if self._watcher is not None:
                await self._watcher.end()
            await self._channels.end_streams()
        self.close()

    async def __aenter__(self) -> Self:
        self._keep_watch()
        return self

    def _keep_watch(self) -> None:
        if self._owner and self._watcher is None:
            self._watcher = Watcher(self._directory, self._channels)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _remembered(self) -> dict[str, int]:
        cached = self._cache.load()
        recent = time.time() - cached.positions_at < POSITION_LIFE
        return dict(cached.positions) if recent else {}

    def _contexts(self) -> Mapping[str, str]:
        if self._config is None:
            return {}
        return contexts_by_region(self._config, self.context.account)

    def _elsewhere(self, name: str, record: Region | None) -> "Client":
        """Make a client of another region; without a name, one that says of nobody who it is."""
        if record is None:
            assert self._config is not None
            chosen = choose_context(self._config, self._contexts()[name], environ={})
            project = chosen.context.project or self.context.project
            context = msgspec.structs.replace(chosen.context, project=project)
            secret, ca_pem = chosen.secret, ""
            cache = self._cache.sibling(chosen.name)
        else:
            prefix = PLAINTEXT if self._plaintext and not record.ca else ""
            context = Context(
                address=tuple(prefix + address for address in record.addresses),
                account=self.context.account if name else "",
                project=self.context.project if name else "",
                region=record.name,
            )
            secret, ca_pem = self._secret if name else "", record.ca
            cache = self._cache.beside(name) if name else TokenCache.none()
        client = Client(
            context,
            secret=secret,
            cache=cache,
            patience=self._patience,
            allow_stale=self._allow_stale,
            at=self._at,
            ca_pem=ca_pem,
        )
        if self._watcher is not None and name:
            client._keep_watch()
        return client
