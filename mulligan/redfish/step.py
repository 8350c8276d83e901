"""What a step of the catalogue is, what it works with, and what comes of it."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from mulligan.events.machine import Bmc, Exchange, Facts, Mode, Outcome, Power
from mulligan.redfish.bmc import BmcClient, Login
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.media_server import MediaServer

ReadUserData = Callable[[str, str], Awaitable[bytes]]
"""Return the content of a user data's version from the secret store; raise NotFound."""

Connect = Callable[[Bmc], BmcClient]
"""Make a client with the machine's login for a BMC that is reached in another way."""


ReadVersion = Callable[[str], Awaitable[Login]]
"""Return one version of the machine's login from the secret store; raise NotFound."""

LogIn = Callable[[str, str], Awaitable[BmcClient]]
"""Make a client that logs in with one version of the machine's login and nothing else.

What is in the second version is kept out of every record. Raise NotFound when a version is gone.
"""


class StepContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a step works with. ``action`` names the attempt and makes its media URLs unique.

    ``monitor`` is the task that the step became on its BMC before a crash, if it is known.
    ``connect`` is needed to pin a certificate, ``read_user_data`` for a seed that has some,
    ``log_in`` and ``read_login`` to change a password. ``resumes`` tells that the step may have
    been sent before a crash.
    """

    bmc: BmcClient
    action: str
    machine: str = ""
    operation: str = ""
    params: Mapping[str, str] = {}
    monitor: str = ""
    media: MediaServer | None = None
    connect: Connect | None = None
    read_user_data: ReadUserData | None = None
    log_in: LogIn | None = None
    read_login: ReadVersion | None = None
    resumes: bool = False


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a step: the fields of ``events.machine.StepObserved`` but action and time.

    ``password`` is beside them: the version of the login that the BMC was last seen to take.
    """

    outcome: Outcome
    message: str = ""
    fault: str = ""
    recovered: bool = False
    power: Power | None = None
    facts: Facts | None = None
    notes: tuple[str, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    fingerprint: str = ""
    password: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How one step is done.

    ``look`` tells whether the effect is there, without changing anything: None while it is not.
    It raises ``unknown-outcome`` where nobody can tell. ``limit`` bounds ``perform``, in seconds.
    """

    mode: Mode
    perform: Callable[[StepContext], Awaitable[Observation]]
    look: Callable[[StepContext], Awaitable[Observation | None]] | None = None
    limit: float = 900.0


def done(message: str, **found: object) -> Observation:
    """Return the outcome of a step that did what it should."""
    return msgspec.convert({"outcome": "done", "message": message, **found}, Observation)


def param(context: StepContext, name: str) -> str:
    """Return a parameter of the step; raise ``bad-params`` without it."""
    value = context.params.get(name, "")
    if not value:
        raise BmcFault("bad-params", f"the step needs the parameter {name!r}")
    return value


def is_set(context: StepContext, name: str) -> bool:
    """Tell whether a parameter that is ``yes`` or empty is ``yes``; raise ``bad-params``."""
    value = context.params.get(name, "")
    if value not in ("", "yes"):
        raise BmcFault("bad-params", f"{name} {value!r} is not known; use yes, or leave it out")
    return value == "yes"
