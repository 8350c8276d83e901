"""The executor: takes requested actions, runs their steps, appends what was observed.

A step is claimed in the log before the BMC is called, and its outcome is appended after. A step
that a dead executor had claimed is resumed: a ``once`` step is then looked for, never sent again.
"""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import anyio
import msgspec

from mulligan import tracing
from mulligan.commands.runner import Commands, Request
from mulligan.commands.sharedwork import FindBusy, SharedWork
from mulligan.errors import Conflict, Exhausted, NotFound, Unavailable
from mulligan.events.envelope import Actor
from mulligan.events.machine import Bmc, StepObserved
from mulligan.handlers.actions import AttemptStep, ObserveStep, StartTask
from mulligan.handlers.credential import Credential, logins_of
from mulligan.handlers.machine import Action, Machine, Operation
from mulligan.log.protocol import Fence, Fenced
from mulligan.model import CommitId, stream_id
from mulligan.redfish.auth import Login, LoginTerms, Spare, spelt
from mulligan.redfish.bmc import BmcClient, Timings
from mulligan.redfish.clients import Clients
from mulligan.redfish.media_server import MediaServer
from mulligan.redfish.step import Connect, LogIn, ReadUserData
from mulligan.redfish.steps import Observation, StepContext, run_step
from mulligan.redfish.tasks import OnMonitor, reporting_monitors

log = logging.getLogger(__name__)

AT_ONCE = 2000
"""Steps that run at once in one process, most of them waiting for a BMC or for time to pass."""

FINISH_S = 5.0
"""How long a step may go on once the process is to end; it is then left to another executor."""

_RETRY_S = 0.5

OnStep = Callable[[str, str, float], None]
"""Takes the kind of a step, its outcome, and the seconds it took."""


def _untold(step: str, outcome: str, seconds: float) -> None:
    """Tell nobody."""


def _about(machine: Machine, action: Action) -> AbstractContextManager[None]:
    """Have lines of the log in the block say what they are about."""
    return tracing.concerning(machine=machine.id, action=action.id, step=action.step)


ReadLogin = Callable[[str, str], Awaitable[Login]]
"""Return the login of a credential's version from the secret store."""


class Executor:
    """Runs the actions of this instance's share of the machines.

    ``mine`` tells which machines are this instance's, ``alive`` which executors live, ``fence``
    guards its appends. ``ca_file`` (PEM) vouches for BMCs, the host's own authorities without;
    ``client`` makes the client of one; ``on_step`` is told of each step. ``at_work`` counts the
    steps that run, by kind.
    """

    def __init__(
        self,
        commands: Commands,
        *,
        instance: str,
        mine: Callable[[str], bool],
        alive: Callable[[str], bool],
        fence: Callable[[], Fence],
        find_busy: FindBusy,
        read_login: ReadLogin,
        read_user_data: ReadUserData | None = None,
        media: MediaServer | None,
        limiter: anyio.CapacityLimiter,
        timings: Timings | None = None,
        ca_file: str | None = None,
        client: Callable[..., BmcClient] = BmcClient,
        on_step: OnStep = _untold,
    ) -> None:
        self.at_work: Counter[str] = Counter()
        self._on_step = on_step
        self._client = client
        self._commands = commands
        self._instance = instance
        self._actor = Actor(account="service:executor", credential=instance)
        self._mine = mine
        self._alive = alive
        self._fence = fence
        self._read_login = read_login
        self._read_user_data = read_user_data
        self._media = media
        self._limiter = limiter
        self._timings = timings
        self._ca_file = ca_file
        self._work = SharedWork(
            "actions",
            commands.log,
            look=self._look,
            concerns=lambda record: record.type == "machine.action_requested",
            find_busy=find_busy,
            at_once=AT_ONCE,
        )
        self._clients = Clients()
        self._claimed: set[str] = set()
        """Machines whose step is ours to finish, or may be: others leave it while we live."""
        self._draining = False

    @property
    def waiting(self) -> int:
        """How many machines wait to be looked at, or are."""
        return self._work.waiting

    @property
    def clients(self) -> Clients:
        """The clients of BMCs, and their breakers."""
        return self._clients

    async def run(self) -> None:
        """Execute for ever; on cancellation the BMC sessions are closed."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._clients.run)
            await self._work.run()

    async def drain(self, within: float) -> None:
        """Take no further step and wait for those that run, for ``FINISH_S`` at most."""
        self._draining = True
        with anyio.move_on_after(min(within, FINISH_S)):
            await self._clients.unused()

    def shares_changed(self) -> None:
        """Look at every busy machine again: some may be ours now, and some no longer."""
        self._clients.give_up_unless(self._mine)
        self._work.shares_changed()

    async def _look(self, key: str) -> float | None:
        if self._draining or not (self._mine(key) or key in self._claimed):
            return None
        machine: Machine | None = (await self._commands.state(stream_id("machine", key))).state
        operation = machine.operation if machine is not None else None
        action = operation.action if operation is not None else None
        if machine is None or machine.deleted or operation is None or action is None:
            self._claimed.discard(key)
            return None
        if action.owner and action.owner != self._instance and self._alive(action.owner):
            self._claimed.discard(key)
            return None  # it is being run: its outcome, or its owner's death, brings us back
        self._claimed.add(key)
        with tracing.following(self._commands.trace_of(operation.id)), _about(machine, action):
            if not await self._take(machine, operation, action):
                return 0.0
        self._claimed.discard(key)
        if not self._mine(key):
            self._clients.give_up(key)
        return None

    async def _take(self, machine: Machine, operation: Operation, action: Action) -> bool:
        """Claim a step, run it and record what came of it; tell whether it was ours to run."""
        about = {"machine": machine.id, "action": action.id}
        with tracing.span(f"step {action.step}", about=about) as span:
            if not await self._claim(machine, operation, action):
                return False
            with self._clients.using(machine.id):
                began = time.monotonic()
                with self._at_work(action.step):
                    observed = await self._run(machine, operation, action)
                self._on_step(action.step, observed.outcome, time.monotonic() - began)
                span.set("outcome", observed.outcome)
                if observed.fault:
                    span.fail(observed.fault)
                await self._record(machine, operation, action, observed)
        return True

    @contextmanager
    def _at_work(self, step: str) -> Iterator[None]:
        self.at_work[step] += 1
        try:
            yield
        finally:
            self.at_work[step] -= 1

    async def _claim(self, machine: Machine, operation: Operation, action: Action) -> bool:
        command = AttemptStep(
            machine=machine.id,
            operation=operation.id,
            action=action.id,
            owner=self._instance,
            instead_of=action.owner,
        )
        outcome = await self._commands.execute(
            command, self._request(operation, action), fence=self._fence()
        )
        return outcome.commit is not None

    def _request(self, operation: Operation, action: Action) -> Request:
        return Request(
            id=CommitId(self._commands.new_id()),
            actor=self._actor,
            causation=action.id,
            correlation=operation.id,
        )

    async def _run(self, machine: Machine, operation: Operation, action: Action) -> Observation:
        try:
            client = await self.client_of(machine)
            connect = await self._connector(machine) if action.params.get("pin") else None
        except NotFound as error:
            return Observation(
                outcome="fatal",
                fault="bad-credentials",
                message=f"the BMC's login is gone: {error.message}; create the credential again",
            )
        rotates = operation.verb == "rotate"
        context = StepContext(
            bmc=client,
            action=action.id,
            machine=machine.id,
            operation=operation.id,
            params=action.params,
            monitor=action.monitor,
            media=self._media,
            connect=connect,
            read_user_data=self._read_user_data,
            log_in=self._logging_in(machine) if rotates else None,
            read_login=partial(self._read_login, machine.bmc.credential) if rotates else None,
            resumes=bool(action.owner),
        )
        with reporting_monitors(self._keeper(machine, operation, action)):
            return await run_step(action.step, context, resume=bool(action.owner))

    def _keeper(self, machine: Machine, operation: Operation, action: Action) -> OnMonitor:
        async def keep(monitor: str) -> None:
            """Append where the step's task is followed; without it, a crash leaves a look."""
            command = StartTask(
                machine=machine.id, operation=operation.id, action=action.id, monitor=monitor
            )
            request = self._request(operation, action)
            try:
                await self._commands.execute(command, request, fence=self._fence())
            except (Fenced, Unavailable, Exhausted, Conflict) as error:
                log.warning(
                    "a task's monitor was not kept",
                    extra={"action": action.id, "reason": str(error)},
                )

        return keep

    async def _record(
        self, machine: Machine, operation: Operation, action: Action, seen: Observation
    ) -> None:
        """Append the outcome; keep at it, for nobody else knows it."""
        fields = msgspec.structs.asdict(seen)
        password = fields.pop("password")
        observed = StepObserved(action=action.id, at=self._commands.now(), **fields)
        command = ObserveStep(
            machine=machine.id, operation=operation.id, observed=observed, password=password
        )
        request = self._request(operation, action)
        while True:
            try:
                await self._commands.execute(command, request, fence=self._fence())
                return
            except Fenced:
                log.warning("lost the lease before an outcome", extra={"action": action.id})
            except (Unavailable, Exhausted, Conflict) as error:
                log.warning(
                    "an outcome waits for the log",
                    extra={"action": action.id, "reason": error.message},
                )
            await anyio.sleep(_RETRY_S)

    async def _credential(self, machine: Machine) -> Credential:
        stream = stream_id("credential", machine.bmc.credential)
        credential: Credential | None = (await self._commands.state(stream)).state
        if credential is None or credential.deleted:
            raise NotFound("credential", machine.bmc.credential)
        return credential

    async def _connector(self, machine: Machine) -> Connect:
        """Return how to reach the machine's BMC in another way, with the same login."""
        credential = await self._credential(machine)
        version, _ = logins_of(credential, machine.passwords)
        login = await self._read_login(credential.id, version)
        terms = LoginTerms(spare=self._spare(machine.id))

        def connect(bmc: Bmc) -> BmcClient:
            return self._connected(bmc, login, terms)

        return connect

    def _logging_in(self, machine: Machine) -> LogIn:
        """Return how to log in to the machine's BMC with one password, and to hide another."""
        credential = machine.bmc.credential

        async def log_in(version: str, hide: str) -> BmcClient:
            login = await self._read_login(credential, version)
            hidden = spelt((await self._read_login(credential, hide)).password) if hide else ()
            return self._connected(machine.bmc, login, LoginTerms(hidden=hidden, to_change=True))

        return log_in

    def _spare(self, machine_id: str) -> Spare:
        """Return what finds the other password that the machine's BMC may have by now."""

        async def spare(refused: Login) -> Login | None:
            found = await self._commands.state(stream_id("machine", machine_id))
            machine: Machine | None = found.state
            if machine is None or machine.deleted:
                return None
            try:
                credential = await self._credential(machine)
                for version in filter(None, logins_of(credential, machine.passwords)):
                    login = await self._read_login(credential.id, version)
                    if login != refused:
                        return login
            except NotFound:
                return None
            return None

        return spare

    def _connected(self, bmc: Bmc, login: Login, terms: LoginTerms) -> BmcClient:
        """Return a client; refused logins count together with those of the account's others."""
        return self._client(
            bmc,
            login,
            limiter=self._limiter,
            timings=self._timings,
            ca_file=self._ca_file,
            breaker=self._clients.breaker(bmc.address, bmc.credential),
            terms=terms,
        )

    async def client_of(self, machine: Machine) -> BmcClient:
        """Return the machine's one client; raise NotFound when its login is gone.

        It is a new one once logins were allowed again: one that counts from nothing.
        """
        credential = await self._credential(machine)
        version, _ = logins_of(credential, machine.passwords)
        reach = msgspec.json.encode(machine.bmc).decode()
        identity = f"{reach}/{version}/{machine.logins}"
        client = self._clients.get(machine.id, identity)
        if client is not None:
            return client
        login = await self._read_login(credential.id, version)
        client = self._clients.get(machine.id, identity)  # made by somebody else meanwhile
        if client is not None:
            return client
        client = self._connected(machine.bmc, login, LoginTerms(spare=self._spare(machine.id)))
        if self._clients.knows(machine.id):
            client.reset_breaker()  # it is reached in another way, or logins are allowed again
        self._clients.keep(machine.id, identity, client)
        return client

    def keep_clients(self, wanted: Callable[[str], bool]) -> None:
        """Give up the clients of machines that are ``wanted`` after those of all others."""
        self._clients.wanted = wanted
