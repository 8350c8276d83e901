"""``--dry-run`` of verbs that change something: everything but the change itself.

What a verb reads is read. The first call that would change something is not sent; it is printed,
and what it names is looked up, so that a name that does not exist is found out. Whether the service
would accept it is not known, and the output says so.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from mulligan.cli.output import Column, Output, plain
from mulligan.cli.report import NotSent
from mulligan.cli.verbs import Session

if TYPE_CHECKING:
    from mulligan.client.client import Client

_LOOKING = ("get_", "list_", "watch_", "read_", "who_", "describe", "resolve")
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


@dataclass(frozen=True)
class Held:
    """A call that would have been sent, as it is printed: ``request`` is without secrets."""

    call: str
    request: dict[str, Any]

    @property
    def name(self) -> str:
        """What ``-o name`` prints of it."""
        return self.call


COLUMNS = (
    Column("WOULD SEND", lambda one: one.call),
    Column(
        "WITH",
        lambda one: ", ".join(
            f"{key}={value}" for key, value in one.request.items() if value and key != "request_id"
        ),
    ),
)


class HoldingClient:
    """A client whose calls that change something are kept in ``held`` and raise NotSent."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self.held: list[Held] = []

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
        return self._held(f"{self._service.title()}.{_camel(method)}", method)

    def _held(self, name: str, method: str) -> Callable[[Any], Any]:
        holder = self._holder

        def keep(request: Any) -> "_Never":
            return _Never(holder, name, request)

        return keep


class _Never:
    """A call that is not sent, whether it would be awaited or iterated over."""

    def __init__(self, holder: HoldingClient, call: str, request: Any) -> None:
        self._holder = holder
        self._call = call
        self._request = request

    async def _raise(self) -> None:
        await look_up(self._holder, self._request)
        self._holder.held.append(Held(self._call, without_secrets(plain(self._request))))
        raise NotSent("nothing was done")

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


async def try_out(
    function: Callable[..., Awaitable[None]], session: Session, given: dict[str, Any]
) -> None:
    """Do a verb up to what it would change, and print that."""
    holder = HoldingClient(session.client)
    session.use(cast("Client", holder))
    with suppress(NotSent):
        await function(session, **given)
    show(session.out, holder.held)


def show(out: Output, held: list[Held]) -> None:
    """Print what would have been sent."""
    if not held:
        out.note("nothing would be sent; nothing was done")
        return
    out.rows(held, COLUMNS)
    out.note(
        "dry run: what it names is there; whether it would be accepted is decided when it is "
        "sent. Nothing was done"
    )
