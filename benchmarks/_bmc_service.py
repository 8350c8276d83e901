"""What the simulated BMCs answer: logins, resources, and the books on who asked what when."""

import base64
import random
import resource
import time
from collections import deque

import msgspec

from benchmarks._bmc_http import Answer, Request
from benchmarks._bmc_redfish import NOT_FOUND, Json, System, answer, refusal, system_id

USER, PASSWORD = "admin", "simulated"
_BASIC = b"Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode())
_SESSIONS = "/redfish/v1/SessionService/Sessions"
_ROOT = answer(
    {
        "@odata.id": "/redfish/v1/",
        "RedfishVersion": "1.15.0",
        "Name": "Simulated BMC",
        "Vendor": "Simulated",
        "Systems": {"@odata.id": "/redfish/v1/Systems"},
        "Managers": {"@odata.id": "/redfish/v1/Managers"},
        "SessionService": {"@odata.id": "/redfish/v1/SessionService"},
        "Links": {"Sessions": {"@odata.id": _SESSIONS}},
    }
)
_UNAUTHORIZED = refusal(401, "log in first")
_KEPT = 200_000


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the BMCs are; times in seconds. ``certificate`` and ``key`` switch to TLS."""

    systems: int
    ports: int = 1
    delay: float = 0.0
    jitter: float = 0.0
    power: float = 0.05
    certificate: str = ""
    key: str = ""
    trace: bool = False


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What the BMCs had to do since the last ``mark``; ``cpu_s`` is the process's own.

    ``busy`` is how many had a request in flight: now, at most, and on average over the time that
    any had. ``first_at`` is when the first request came, by the host's monotonic clock.
    """

    requests: int
    connections: int
    sessions: int
    busy: int
    busy_max: int
    busy_mean: float
    first_at: float
    cpu_s: float


class Fleet:
    """Answers for every system, whichever port is asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rng = random.Random(1)
        self._busy = self._busy_max = self._requests = 0
        self._first_at = 0.0
        self._systems = {system_id(n): System(n, settings.power) for n in range(settings.systems)}
        self._sessions: dict[str, str] = {}
        self._numbers = 0
        self.connections = 0
        self.trace: deque[tuple[str, str]] = deque(maxlen=_KEPT if settings.trace else 0)
        self._mark()

    def count_connections(self, change: int) -> None:
        """Note that a connection was opened or closed."""
        self.connections += change

    def begin(self, request: Request) -> float:
        """Note a request; return the seconds it takes."""
        if request.path.startswith("/sim/"):
            return 0.0
        now = time.monotonic()
        self._requests += 1
        self._first_at = self._first_at or now
        system = self._system_of(request.path)
        if system is not None:
            self._account(now)
            self._busy += system.in_flight == 0
            system.in_flight += 1
            self._busy_max = max(self._busy_max, self._busy)
        settings = self._settings
        return settings.delay + (self._rng.uniform(0, settings.jitter) if settings.jitter else 0.0)

    def finish(self, request: Request) -> Answer:
        """Serve a request."""
        if request.path.startswith("/sim/"):
            return self._tell(request.path)
        system = self._system_of(request.path)
        if system is not None:
            self._account(time.monotonic())
            system.in_flight -= 1
            self._busy -= system.in_flight == 0
        if self._settings.trace:
            self.trace.append((request.method, request.path))
        return self._serve(request, system)

    def _serve(self, request: Request, system: System | None) -> Answer:
        path = request.path.rstrip("/")
        if path == "/redfish/v1":
            return _ROOT
        body = _object(request.body)
        if path == _SESSIONS and request.method == "POST":
            return self._log_in(body)
        if not self._is_known(request):
            return _UNAUTHORIZED
        if path.startswith(f"{_SESSIONS}/") and request.method == "DELETE":
            self._sessions.pop(path.rpartition("/")[2], None)
            return Answer(204)
        if system is not None:
            _, _, _, kind, _, *rest = path.split("/")
            return system.serve(request.method, kind, "/".join(rest), body)
        if path in ("/redfish/v1/Systems", "/redfish/v1/Managers"):
            members = [{"@odata.id": f"{path}/{name}"} for name in self._systems]
            return answer({"@odata.id": path, "Members": members})
        return NOT_FOUND

    def _system_of(self, path: str) -> System | None:
        if not path.startswith(("/redfish/v1/Systems/", "/redfish/v1/Managers/")):
            return None
        return self._systems.get(path.split("/", 5)[4])

    def _log_in(self, body: Json) -> Answer:
        if (body.get("UserName"), body.get("Password")) != (USER, PASSWORD):
            return _UNAUTHORIZED
        self._numbers += 1
        number, token = str(self._numbers), f"{self._rng.getrandbits(128):032x}"
        self._sessions[number] = token
        where = f"{_SESSIONS}/{number}"
        # A token says which session it is of, so that none has to be searched for.
        headers = f"X-Auth-Token: {number}.{token}\r\nLocation: {where}\r\n"
        return answer({"@odata.id": where, "Id": number, "UserName": USER}, 201, headers)

    def _is_known(self, request: Request) -> bool:
        number, _, token = request.headers.get(b"x-auth-token", b"").decode().partition(".")
        if token:
            return self._sessions.get(number) == token
        return request.headers.get(b"authorization") == _BASIC

    # -- what happened -----------------------------------------------------------------------

    def _tell(self, path: str) -> Answer:
        match path:
            case "/sim/counts":
                return answer({s.id: s.applied for s in self._systems.values() if s.applied})
            case "/sim/load":
                return Answer(200, msgspec.json.encode(self._load()))
            case "/sim/mark":
                self._mark()
                return answer({})
            case "/sim/trace":
                found = list(self.trace)
                self.trace.clear()
                return answer({"requests": found})
        return NOT_FOUND

    def _mark(self) -> None:
        now = time.monotonic()
        self._requests = 0
        self._first_at = 0.0
        self._busy = sum(system.in_flight > 0 for system in self._systems.values())
        self._busy_max = self._busy
        self._busy_s = self._some_s = 0.0
        self._at = now

    def _account(self, now: float) -> None:
        if self._busy:
            self._busy_s += self._busy * (now - self._at)
            self._some_s += now - self._at
        self._at = now

    def _load(self) -> Load:
        self._account(time.monotonic())
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Load(
            requests=self._requests,
            connections=self.connections,
            sessions=len(self._sessions),
            busy=self._busy,
            busy_max=self._busy_max,
            busy_mean=round(self._busy_s / self._some_s, 1) if self._some_s else 0.0,
            first_at=self._first_at,
            cpu_s=used.ru_utime + used.ru_stime,
        )


def _object(body: bytes) -> Json:
    try:
        found = msgspec.json.decode(body) if body else {}
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
