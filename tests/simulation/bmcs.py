"""BMCs that remember what was really done to them, and the executor's own client to reach them."""

import asyncio
import base64
import random
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, cast

import anyio
import msgspec

from mulligan.events.machine import Bmc
from mulligan.handlers.machine import Action, Machine, Operation
from mulligan.redfish.channel import Channel, Timings
from mulligan.redfish.executor import Executor
from mulligan.redfish.steps import Observation
from mulligan.redfish.transport import Answer, Broken, Call, Flight, Wire

SYSTEM = "/redfish/v1/Systems/one"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
DRIVE = f"{SYSTEM}/VirtualMedia/Cd"
INSERT = f"{DRIVE}/Actions/VirtualMedia.InsertMedia"
EJECT = f"{DRIVE}/Actions/VirtualMedia.EjectMedia"
SESSIONS = "/redfish/v1/SessionService/Sessions"
ACCOUNT = "/redfish/v1/AccountService/Accounts/1"

TIMINGS = Timings(
    connect=3, read=8, slow=8, slack=1, poll=1, settle=4, look_for=4, power=12, graceful=12,
    ready=12, boot=12, post=5, task=20, media_pause=1, get_pauses=(0.5, 1.0), write_pauses=(1.0,),
)  # fmt: skip

ACTING: ContextVar[str] = ContextVar("acting", default="")
"""The action that a request to a BMC belongs to."""


class Done(NamedTuple):
    """A BMC did something for an action."""

    action: str
    what: str


class SimulatedBmc:
    """One machine: power, a drive, a boot override, an account. ``trouble`` is the chance of it."""

    def __init__(self, serial: str, rng: random.Random, trouble: float, password: str) -> None:
        self.serial = serial
        self.power = rng.choice(("On", "Off"))
        self.image: str | None = None
        self.boot = {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"}
        self.password = password
        self.trouble = trouble
        self.pace = 0.05
        self.deadly = 0.0
        self.done: Counter[Done] = Counter()
        self.refused_in_a_row = 0
        self.rng = rng
        self._tokens: set[str] = set()
        self._sessions = 0

    def handle(
        self, method: str, path: str, body: dict[str, Any] | None, token: str, action: str
    ) -> Answer:
        """Do what is asked, now."""
        path = path.rstrip("/")
        if method == "POST" and path == SESSIONS:
            return self._log_in(body or {})
        if path != "/redfish/v1" and token not in {*self._tokens, self._basic()}:
            return _answer(401)
        if method == "GET":
            found = self._resources().get(path)
            return _answer(404 if found is None else 200, found)
        if method == "DELETE":
            self._tokens.discard(token)
            return _answer(204)
        return self._write(path, body or {}, action)

    def restart(self) -> None:
        """Forget every session, as a BMC does that starts again."""
        self._tokens.clear()

    def _basic(self) -> str:
        """Return what a request without a session may show instead."""
        return "Basic " + base64.b64encode(f"root:{self.password}".encode()).decode()

    def _log_in(self, body: dict[str, Any]) -> Answer:
        if body.get("Password") != self.password:
            return _answer(401)
        self._sessions += 1
        token = f"token-{self._sessions}"
        self._tokens.add(token)
        return _answer(201, {}, {"x-auth-token": token, "location": f"{SESSIONS}/{token}"})

    def _write(self, path: str, body: dict[str, Any], action: str) -> Answer:
        if path == RESET:
            kind = str(body["ResetType"])
            self.done[Done(action, "reset")] += 1
            self.power = "Off" if kind in {"ForceOff", "GracefulShutdown"} else "On"
        elif path == INSERT:
            self.done[Done(action, "insert")] += 1
            self.image = str(body["Image"])
        elif path == EJECT:
            self.image = None
        elif path == SYSTEM:
            self.boot = {**self.boot, **body["Boot"]}
        elif path == ACCOUNT:
            self.password = str(body["Password"])
        else:
            return _answer(404)
        return _answer(204)

    def _resources(self) -> dict[str, Any]:
        kinds = ["On", "ForceOff", "GracefulShutdown", "ForceRestart", "PowerCycle", "Nmi"]
        return {
            "/redfish/v1": {
                "RedfishVersion": "1.15.0",
                "Systems": {"@odata.id": "/redfish/v1/Systems"},
                "AccountService": {"@odata.id": "/redfish/v1/AccountService"},
                "Links": {"Sessions": {"@odata.id": SESSIONS}},
            },
            "/redfish/v1/Systems": {"Members": [{"@odata.id": SYSTEM}]},
            SYSTEM: {
                "Id": "one",
                "Manufacturer": "Simulated",
                "SerialNumber": self.serial,
                "PowerState": self.power,
                "Boot": self.boot,
                "ProcessorSummary": {"Count": 1},
                "MemorySummary": {"TotalSystemMemoryGiB": 16},
                "Actions": {
                    "#ComputerSystem.Reset": {
                        "target": RESET,
                        "ResetType@Redfish.AllowableValues": kinds,
                    }
                },
                "VirtualMedia": {"@odata.id": f"{SYSTEM}/VirtualMedia"},
            },
            f"{SYSTEM}/VirtualMedia": {"Members": [{"@odata.id": DRIVE}]},
            DRIVE: {
                "MediaTypes": ["CD"],
                "Image": self.image,
                "Inserted": self.image is not None,
                "Actions": {
                    "#VirtualMedia.InsertMedia": {"target": INSERT},
                    "#VirtualMedia.EjectMedia": {"target": EJECT},
                },
            },
            "/redfish/v1/AccountService": {
                "Accounts": {"@odata.id": "/redfish/v1/AccountService/Accounts"}
            },
            "/redfish/v1/AccountService/Accounts": {"Members": [{"@odata.id": ACCOUNT}]},
            ACCOUNT: {"UserName": "root", "Locked": False},
        }


def _answer(
    status: int, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Answer:
    data = msgspec.json.encode(body) if body is not None else b""
    return Answer(status=status, headers=headers or {}, body=data)


class _Sessions:
    """What ``Authentication`` keeps at a wire."""

    def __init__(self) -> None:
        self._kept: dict[str, str | None] = {}

    def set_session_key(self, value: str | None) -> None:
        self._kept["key"] = value

    def get_session_key(self) -> str | None:
        return self._kept.get("key")

    def set_session_location(self, value: str | None) -> None:
        self._kept["location"] = value

    def get_session_location(self) -> str | None:
        return self._kept.get("location")

    def set_authorization_key(self, value: str | None) -> None:
        self._kept["authorization"] = value

    def get_authorization_key(self) -> str | None:
        return self._kept.get("authorization")

    def close_connections(self) -> None:
        """There are none."""


class SimulatedChannel(Channel):
    """A channel whose exchanges pass over no network; ``bmcs`` finds a BMC by its origin."""

    def __init__(
        self,
        bmcs: Callable[[str], SimulatedBmc],
        reach: Callable[[], bool],
        die: Callable[[], None],
        *args: Any,
        **kw: Any,
    ) -> None:
        super().__init__(*args, **kw)
        self._die = die
        self._bmc = bmcs(self.origin)
        self._reaches = reach

    def _wired(self, bmc: Bmc, ca_file: str | None) -> Wire:
        return cast("Wire", _Sessions())

    async def _fly(
        self, flight: Flight, method: str, path: str, call: Call, took: list[int]
    ) -> Answer:
        bmc, rng = self._bmc, self._bmc.rng
        took.append(1)
        fate = rng.random() / bmc.trouble if bmc.trouble else 9.0
        if fate < 0.15 or not self._reaches():
            await anyio.sleep(self.timings.connect)
            raise Broken("unreachable", "no connection", sent=False)
        if fate < 0.25:
            await anyio.sleep(0.05)
            return _answer(503)
        if fate < 0.3:
            bmc.restart()
        flight.sent = True
        sessions = cast("_Sessions", self._wire)
        token = sessions.get_session_key() or sessions.get_authorization_key() or ""
        arrived = self._send(method, path, call.body, token, lost=0.3 <= fate < 0.45)
        if fate < 0.6:
            await anyio.sleep(0.2)
            raise Broken("dropped", "closed the connection", sent=True)
        if fate < 0.7:
            await anyio.sleep(self.timings.read)
            raise Broken("timeout", "no answer", sent=True)
        answer = await arrived
        if 0.7 <= fate < 0.8 and method != "GET":
            return _answer(500)
        await anyio.sleep(rng.uniform(0.0, bmc.pace if "Actions" in path else 0.05))
        return answer

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None, token: str, *, lost: bool
    ) -> asyncio.Future[Answer]:
        """Have a request arrive some time from now, whatever becomes of who sent it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        action = ACTING.get()

        def arrive() -> None:
            answer = self._bmc.handle(method, path, body, token, action)
            if "Actions" in path and self._bmc.rng.random() < self._bmc.deadly:
                self._die()
            if not future.done():
                future.set_result(answer)

        if not lost:
            loop.call_later(self._bmc.rng.uniform(0.0, 0.05), arrive)
        return future


class SimulatedExecutor(Executor):
    """An executor whose requests say to which action they belong."""

    async def _run(self, machine: Machine, operation: Operation, action: Action) -> Observation:
        token = ACTING.set(action.id)
        try:
            return await super()._run(machine, operation, action)
        finally:
            ACTING.reset(token)


class _Size(NamedTuple):
    st_size: int = 1000
    bytes: int = 0
    size: int = 1000

    def stat(self) -> "_Size":
        return self


class SimulatedMedia:
    """As much of a media server as the steps ask for."""

    trust = None
    authorities = ()
    url = "http://media"

    async def stage(self, url: str, checksum: str) -> _Size:
        """Have an image."""
        await anyio.sleep(0.01)
        return _Size()

    def publish(
        self, url: str, checksum: str, action: str, *, machine: str = "", name: str = "boot.iso"
    ) -> str:
        """Return where the BMC finds it: for one action the same from every executor."""
        return f"{self.url}/{checksum[:32]}/{action}/{name}"

    def fetched(self, url: str) -> _Size:
        """Return how much was read."""
        return _Size()

    def withdraw(self, url: str) -> None:
        """Serve it no more."""

    def withdraw_all(self, machine: str, *, but: str = "") -> None:
        """Serve nothing more to a machine."""
