"""``--dry-run`` of verbs that change something: everything but the change itself.

What a verb reads is read. The first call that would change something is sent as a dry run, and the
service answers what it would append, or refuses as it would refuse the call. Of what has no dry
run, at this service or at all, what it names is looked up, and the output says that nobody has
decided it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from mulligan.cli.dry_run_view import Trial, named_in, show, uuids_in
from mulligan.cli.naming import names_of_all
from mulligan.cli.output import plain
from mulligan.cli.report import NotSent, Several
from mulligan.cli.verbs import Session
from mulligan.errors import FailedPrecondition

if TYPE_CHECKING:
    from mulligan.client.client import Client
    from mulligan.proto.v1 import DryRunResponse

_LOOKING = (
    "get_", "list_", "watch_", "read_", "who_", "describe", "resolve", "scan_", "dry_run",
)  # fmt: skip
_OWNERS = {
    "machine": "control",
    "image": "control",
    "credential": "control",
    "claim": "resource",
    "provider": "resource",
    "group": "resource",
    "account": "iam",
    "project": "iam",
}
"""The service that knows the objects of a kind, which requests name in a field of that name."""
SECRET = ("secret", "password", "content", "token")
"""Fields whose name ends so are not printed, in any form."""


class HoldingClient:
    """A client whose calls that change something are kept in ``held`` and raise NotSent.

    Those that are refused raise what the call itself would.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._held: dict[int, Trial] = {}
        self._numbers = count()

    @property
    def held(self) -> list[Trial]:
        """Return what was held back, in the order of the calls."""
        return [self._held[number] for number in sorted(self._held)]

    def number(self) -> int:
        """Return the number of a call."""
        return next(self._numbers)

    def keep(self, number: int, trial: Trial) -> None:
        """Keep what came of a call."""
        self._held[number] = trial

    def __getattr__(self, name: str) -> Any:
        from mulligan.client.stubs import RoutedStub

        value = getattr(self._client, name)
        return _HoldingService(self, name, value) if isinstance(value, RoutedStub) else value


class _HoldingService:
    def __init__(self, holder: HoldingClient, service: str, stub: Any) -> None:
        self._holder = holder
        self._service = service
        self._stub = stub

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._stub, method)
        if looks(self._service, method):
            return call

        def keep(request: Any) -> "_Never":
            return _Never(self._holder, self._service, method, request)

        return keep


class _Never:
    """A call that is not sent, whether it would be awaited or iterated over."""

    def __init__(self, holder: HoldingClient, service: str, method: str, request: Any) -> None:
        self._holder = holder
        self._service = service
        self._method = method
        self._request = request
        self._number = holder.number()

    async def _raise(self) -> None:
        answer = await decided(self._holder, self._service, self._method, self._request)
        if answer is None:
            await look_up(self._holder, self._request)
        call = f"{self._service.title()}.{_camel(self._method)}"
        shown = without_secrets(plain(self._request))
        trial = Trial(call, shown, answer)
        self._holder.keep(self._number, trial)
        raise NotSent("nothing was done", trial)

    def __await__(self) -> Any:
        return self._raise().__await__()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        await self._raise()


def without_secrets(value: Any) -> Any:
    """Return data as it may be printed: what is secret in it, however deep, as stars."""
    match value:
        case dict():
            return {
                key: "***" if held and key.endswith(SECRET) else without_secrets(held)
                for key, held in value.items()
            }
        case list():
            return [without_secrets(one) for one in value]
        case _:
            return value


def looks(service: str, method: str) -> bool:
    """Tell whether a call only reads."""
    from mulligan.proto.v1 import READS

    route = f"/mulligan.v1.{service.title()}/{_camel(method)}"
    return route in READS or method.startswith(_LOOKING)


async def look_up(client: Any, request: Any) -> None:
    """Raise NotFound for an object that a request names and that is not there."""
    from mulligan.proto import v1

    for kind, service in _OWNERS.items():
        ref = getattr(request, kind, "")
        if isinstance(ref, str) and ref:
            ask = getattr(v1, f"Get{kind.title()}Request")(**{kind: ref})
            await getattr(getattr(client, service), f"get_{kind}")(ask)


def _camel(method: str) -> str:
    return "".join(part.title() for part in method.split("_"))


async def decided(client: Any, service: str, method: str, request: Any) -> "DryRunResponse | None":
    """Return what the service says that a call would do; None where it has no dry run of it."""
    from mulligan.client.dry_run import dry_run_of, is_unknown

    message = dry_run_of(service, method, request)
    if message is None:
        return None
    try:
        answer: DryRunResponse = await getattr(client, service).dry_run(message)
    except FailedPrecondition as error:
        if is_unknown(error):
            return None
        raise
    return answer


def hold(session: Session) -> HoldingClient:
    """From now on, send nothing of a session that changes something."""
    holder = HoldingClient(session.client)
    session.use(cast("Client", holder))
    return holder


async def try_out(
    function: Callable[..., Awaitable[None]], session: Session, given: dict[str, Any]
) -> None:
    """Do a verb up to what it would change, and print what that would do.

    What was found out of several is printed even where some of them are refused.
    """
    holder = hold(session)
    try:
        await function(session, **given)
    except NotSent:
        pass
    except Several:
        await show_trials(session, holder.held)
        raise
    await show_trials(session, holder.held)


async def show_trials(session: Session, trials: Sequence[Trial]) -> None:
    """Print trials, with names for people."""
    names: dict[str, str] = {}
    if session.out.for_people:
        made = named_in(trials)
        unknown = [uuid for uuid in uuids_in(trials) if uuid not in made]
        names = {**await names_of_all(session, unknown), **made}
    show(session.out, trials, names)
