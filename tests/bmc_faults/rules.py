"""What every fault has: which requests it is for, how often, and how it takes part in one."""

import random
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import msgspec
from aiohttp import web

T = TypeVar("T")
Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Status = Annotated[int, msgspec.Meta(ge=200, le=599)]

Proceed = Callable[[], Awaitable[web.StreamResponse]]
_BMC = re.compile(r"/redfish/v1/(?:Systems|Managers|Chassis)/([^/]+)")
_MONITOR = re.compile(r"/redfish/v1/TaskService/TaskMonitors/(.*)\.\d+\Z")


def bmc_of(path: str) -> str:
    """Return the id of the system, manager or chassis that a path names, empty for none."""
    found = _BMC.match(path) or _MONITOR.match(path)
    return found[1] if found else ""


class Turn:
    """One request at one rule. ``due`` tells that the rule's fault is to happen now."""

    def __init__(
        self,
        request: web.Request,
        body: bytes,
        *,
        bmc: str,
        due: bool,
        chance: random.Random,
        state: dict[str, Any],
        say: Callable[[str], None],
        read: Callable[[str], Awaitable[web.StreamResponse]],
    ) -> None:
        self.request = request
        self.body = body
        self.bmc = bmc
        self.due = due
        self.chance = chance
        self.say = say
        self.read = read
        """Return what the BMC behind the proxy answers a GET of a path."""
        self._state = state

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def path(self) -> str:
        return self.request.path.rstrip("/")

    def kept(self, make: Callable[[], T]) -> T:
        """Return what this rule keeps about this BMC, made on first use."""
        if "kept" not in self._state:
            self._state["kept"] = make()
        kept: T = self._state["kept"]
        return kept


class Rule(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="fault", forbid_unknown_fields=True
):
    """Patterns are shell patterns. Counting is by rule and BMC."""

    WATCHES: ClassVar[bool] = False
    """Whether the fault sees all requests to its BMC, not just those that are due."""

    bmc: str = "*"
    method: str = "*"
    path: str = "*"
    after: Count = 0
    times: Count = 0
    chance: Share = 1.0
    window: Seconds = 0.0

    def of(self, bmc: str) -> bool:
        """Tell whether the rule is for this BMC."""
        return fnmatchcase(bmc, self.bmc)

    def matches(self, method: str, path: str) -> bool:
        """Tell whether the rule is for this kind of request."""
        return fnmatchcase(method, self.method) and fnmatchcase(path.rstrip("/"), self.path)

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        """Answer the request, by way of ``proceed`` (the BMC) or not."""
        raise NotImplementedError


def error(
    status: int, message: str, message_id: str = "GeneralError", **headers: str
) -> web.Response:
    """Return a Redfish error."""
    info = {"MessageId": f"Base.1.18.{message_id}", "Message": message}
    body = {
        "error": {
            "code": f"Base.1.18.{message_id}",
            "message": message,
            "@Message.ExtendedInfo": [info],
        }
    }
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return as_json(body, status, **named)


def as_json(body: Any, status: int = 200, **headers: str) -> web.Response:
    """Return a JSON answer."""
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        content_type="application/json",
        headers=headers,
    )


def retry_after(seconds: float | None, form: Literal["seconds", "date"]) -> dict[str, str]:
    """Return the header that asks to come back in ``seconds``, or none."""
    if seconds is None:
        return {}
    if form == "seconds":
        return {"Retry-After": f"{seconds:.0f}"}
    when = datetime.now(UTC) + timedelta(seconds=seconds)
    return {"Retry-After": format_datetime(when, usegmt=True)}


def body_of(response: web.StreamResponse) -> dict[str, Any] | None:
    """Return the JSON object that a response holds, None when it holds none."""
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return None
    try:
        body = msgspec.json.decode(response.body)
    except msgspec.DecodeError:
        return None
    return body if isinstance(body, dict) else None


def with_body(response: web.StreamResponse, body: Any) -> web.StreamResponse:
    """Return the response with another JSON body."""
    if isinstance(response, web.Response):
        response.body = msgspec.json.encode(body)
    return response
