"""What a service stands on: the log, the read models, the secrets, the keys, the catalog.

Services start in any order: a runtime keeps trying until etcd answers, and until then whatever
needs it raises Unavailable. After that a lost etcd or Postgres is waited out by the parts.
"""

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from copy import copy
from functools import partial
from typing import Any, cast

import anyio
from anyio import to_thread

from mulligan import __version__
from mulligan.commands.runner import Commands
from mulligan.config import Config
from mulligan.errors import Corrupt, MulliganError, Unavailable
from mulligan.events.codec import Codec
from mulligan.events.formats import FORMAT
from mulligan.log.archive import Archive
from mulligan.log.etcd import Etcd, EtcdSettings
from mulligan.log.etcd_members import EtcdMember
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.format import ATTRIBUTE, Format
from mulligan.log.keys import Keys
from mulligan.log.protocol import Stored
from mulligan.log.registry import Member, Members, Membership, Registration, member_value
from mulligan.model import RegionName, new_id, stream_key, utc_now
from mulligan.queries.database import Database
from mulligan.queries.moments import Moments
from mulligan.queries.regions import every_region
from mulligan.secrets import MasterKeys, SecretStore, load_master_keys
from mulligan.services.configure import Settings
from mulligan.services.gate.limits import Limits
from mulligan.services.gate.moment import Past, Pasts
from mulligan.services.iam.keyring import KeyRing, every_key
from mulligan.services.iam.tokens import kid_of
from mulligan.services.log.witnesses import Witnesses
from mulligan.services.meta.known_regions import KnownRegions
from mulligan.services.readmodels import ReadModels
from mulligan.services.secrets.secretkv import EtcdSecretKv, Shredder

log = logging.getLogger(__name__)

Body = Callable[["Parts"], Awaitable[None]]
_past: ContextVar[Past | None] = ContextVar("past", default=None)

_RETRY_S = 0.3
_BUSY = 12
_LINGER_S = 0.006
"""A busy process appends at most so often: fewer and larger entries, for all that read them."""
_LEAVE_S = 1.0


class Parts:
    """The open parts of a runtime."""

    def __init__(
        self,
        *,
        etcd: Etcd,
        archive: Archive,
        log: EtcdLog,
        database: Database,
        commands: Commands,
        secrets: SecretStore,
        registration: Registration,
        membership: Membership,
        pasts: Pasts,
        regions: KnownRegions,
    ) -> None:
        self.etcd = etcd
        self.archive = archive
        self.log = log
        self.database = database
        self.commands = commands
        self.secrets = secrets
        self.registration = registration
        self.membership = membership
        self.pasts = pasts
        self.regions = regions

    def as_of(self, past: Past) -> "Parts":
        """Return these parts with the log, the read models and the states of an earlier moment."""
        then = copy(self)
        then.log = cast(EtcdLog, past.log)
        then.database = past.database
        then.commands = past.commands
        return then


class Runtime:
    """Opens the parts of one service of one region and keeps them open while ``run`` runs."""

    def __init__(self, config: Config, service: str, address: str) -> None:
        self.config = config
        self.limits = Limits(config.limits)
        self.in_flight: Callable[[], int] = lambda: 0
        self.holds_work: Callable[[], bool] | None = None
        self.etcd_members: Callable[[], Sequence[EtcdMember]] = tuple
        self.service = service
        self.region = RegionName(config.region)
        self.instance = f"{service}-{os.getpid()}-{new_id()[-8:]}"
        self.address = address
        self.started_at = utc_now()
        self.settings = Settings(self.limits, self.instance)
        self.keyring = KeyRing(self.region)
        self.waiting_for = "its first contact with etcd"
        self._parts: Parts | None = None
        self._codec = Codec()
        self._learning = anyio.Lock()
        self._learnt = False

    @property
    def parts(self) -> Parts:
        """The parts of the moment that the present call asks of; raises as ``present`` does."""
        past = _past.get()
        return self.present if past is None else self.present.as_of(past)

    @property
    def past(self) -> Past | None:
        """The moment that the present call asks of, None for the present."""
        return _past.get()

    async def look_back(self, text: str) -> str:
        """Let the present call read as of a moment; raise InvalidArgument when there is none.

        Return it as its caller is told of it: the number of the entry, and the time.
        """
        past = await self.present.pasts.find(text)
        _past.set(past)
        return f"{past.log.head.seq} {past.commands.now().isoformat()}"

    @property
    def present(self) -> Parts:
        """The open parts; raise Unavailable while there are none, Corrupt if the log halted."""
        if self._parts is None:
            raise Unavailable(f"{self.service} is starting and waits: {self.waiting_for}", 1.0)
        failure = self._parts.log.failure
        if failure is not None:
            raise Corrupt(f"{self.service} has halted: {failure}")
        return self._parts

    @property
    def ready(self) -> bool:
        """Whether calls can be served."""
        return self._parts is not None and self._parts.log.failure is None

    @property
    def event_log(self) -> EtcdLog | None:
        """The log, halted or not; None while there is none."""
        return self._parts.log if self._parts is not None else None

    @property
    def members(self) -> Members:
        """The live instances of every service, by key."""
        return self.present.membership.members

    async def run(self, body: Body) -> None:
        """Open the parts, run ``body`` on them, and close them when it is cancelled."""
        while True:
            try:
                async with self._open() as parts:
                    self._parts = parts
                    log.info("ready", extra={"service": self.service, "instance": self.instance})
                    await body(parts)
                    return
            except Unavailable as error:
                if self._parts is not None:
                    raise
                if self.waiting_for != error.message:
                    log.warning("waiting", extra={"reason": error.message})
                self.waiting_for = error.message
            finally:
                self._parts = None
            await anyio.sleep(_RETRY_S)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Parts]:
        config = self.config
        keys = Keys(self.region)
        settings = etcd_settings(config)
        async with AsyncExitStack() as stack:
            etcd = await stack.enter_async_context(Etcd(settings))
            format_ = Format(etcd, self.region, __version__)
            await format_.admit()
            archive = Archive(etcd, self.region, str(config.archive.location))
            opened = EtcdLog.open(etcd, self.region, archive=archive)
            event_log = await stack.enter_async_context(opened)
            event_log.linger_while(self._linger)
            database = await stack.enter_async_context(Database(str(config.postgres.dsn)))
            models = ReadModels(database)
            commands = Commands(event_log, models, models, clock=utc_now, format=format_)
            stack.callback(commands.close)
            stack.callback(event_log.listen(self._on_entry))
            shredder = Shredder(etcd)
            shredder.shred((await etcd.status()).revision)  # for who was killed before it could
            secrets = SecretStore(
                self.region,
                master_keys(config),
                EtcdSecretKv(etcd, keys, shredder),
                reload=partial(to_thread.run_sync, master_keys, config),
            )
            registration = Registration(
                etcd,
                keys.service(self.service, self.instance),
                member_value(self._member()),
                admit=format_.admit,
            )
            membership = Membership(etcd, keys.lease("service/"))
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            tasks.start_soon(membership.run)
            tasks.start_soon(shredder.run)
            where = str(config.archive.location)
            await Witnesses(etcd, event_log, database, where).heard(tasks)
            moments = Moments(database, event_log.head.log_id)
            tasks.start_soon(moments.run)
            regions = KnownRegions(self.region)
            tasks.start_soon(regions.follow, event_log, partial(every_region, database))
            await stack.enter_async_context(registration.hold())
            yield Parts(
                etcd=etcd,
                archive=archive,
                log=event_log,
                database=database,
                commands=commands,
                secrets=secrets,
                registration=registration,
                membership=membership,
                pasts=Pasts(event_log, moments),
                regions=regions,
            )

    def _linger(self) -> float:
        """Wait a moment for company when many calls are under way: most of them append."""
        return _LINGER_S if self.in_flight() >= _BUSY else 0.0

    async def leave_catalog(self) -> None:
        """Tell everybody to call other instances; our lease stays, for what we have to finish."""
        if self._parts is None:
            return
        draining = member_value(self._member(draining="yes"))
        with anyio.move_on_after(_LEAVE_S):
            try:
                await self._parts.registration.describe(draining)
            except MulliganError as error:
                log.warning("could not leave the catalog", extra={"reason": error.message})

    def _member(self, **attributes: str) -> Member:
        return Member(
            instance=self.instance,
            endpoint=self.address,
            version=__version__,
            attributes={ATTRIBUTE: str(FORMAT), **attributes},
        )

    async def verify(self, token: str, use: str) -> Mapping[str, Any]:
        """Return the claims of a valid token; raise Unauthenticated otherwise."""
        if self.keyring.seen(token, use):
            return self.keyring.verify(token, use, utc_now())
        kid = kid_of(token)
        await self.learn_keys()
        if not self.keyring.knows(kid):
            await self.keyring.expect(kid)
        return self.keyring.verify(token, use, utc_now())

    async def learn_keys(self) -> None:
        """Take in the keys that are older than this process; raise Unavailable if that fails."""
        async with self._learning:
            if self._learnt:
                return
            async for keys in every_key(self.present.commands):
                for key in keys:
                    self.keyring.add(key, utc_now())
            self._learnt = True

    def _on_entry(self, stored: Stored) -> None:
        for commit in stored.entry.commits:
            for record in commit.events:
                if record.stream.startswith("key/"):
                    event = self._codec.event(record)
                    self.keyring.follow(stream_key(record.stream), event, commit.at)


def master_keys(config: Config) -> MasterKeys:
    """Read the master keys from where the configuration says; raise BadConfiguration."""
    secrets = config.secrets
    return load_master_keys(secrets.key_file, os.environ, secrets.key_command)


def etcd_settings(config: Config) -> EtcdSettings:
    """Return how the configuration says etcd is reached."""
    return EtcdSettings(
        endpoints=tuple(config.etcd.endpoints),
        ca=str(config.etcd.ca or "") if config.etcd.tls else "",
        cert=str(config.etcd.cert or ""),
        key=str(config.etcd.key or ""),
    )
