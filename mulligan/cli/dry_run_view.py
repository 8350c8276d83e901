"""How a dry run is printed: what would be appended, in words; or the call, where nobody decided."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mulligan.cli.event_words import Names, amounts_shown, data_of, length, said, when
from mulligan.cli.output import Column, Output
from mulligan.model import is_uuid
from mulligan.quantities import format_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import DryRunResponse


@dataclass(frozen=True)
class Held:
    """A call that was held back, as it is printed; ``request`` is without secrets.

    ``decided_at`` is where the log stood when the service decided it; empty where it did not, and
    then ``events`` say nothing. ``done_before`` tells of a request id that was used already.
    """

    call: str
    request: dict[str, Any]
    decided_at: str = ""
    done_before: bool = False
    events: tuple[dict[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """What ``-o name`` prints of it."""
        return self.call


@dataclass(frozen=True)
class Line:
    """An event that would be appended, in words."""

    object: str
    event: str
    says: str


UNDECIDED = (
    Column("WOULD SEND", lambda one: one.call),
    Column(
        "WITH",
        lambda one: ", ".join(
            f"{key}={value}" for key, value in one.request.items() if value and key != "request_id"
        ),
    ),
)
EVENTS = (
    Column("OBJECT", lambda line: line.object),
    Column("WOULD BE", lambda line: line.event),
    Column("WHICH SAYS", lambda line: line.says),
)


class Trial:
    """A call with what its service decided, None where it did not."""

    def __init__(self, call: str, request: dict[str, Any], answer: "DryRunResponse | None") -> None:
        self.call = call
        self.request = request
        self.answer = answer

    @property
    def decided_at(self) -> str:
        """Where the log stood, as ``east:1234``."""
        position = self.answer.position if self.answer is not None else None
        return f"{position.region}:{position.seq}" if position is not None else ""

    def held(self) -> Held:
        """Return it as programs read it."""
        if self.answer is None:
            return Held(self.call, self.request)
        events = tuple(
            {
                "command": record.command,
                "commit": record.commit,
                "stream": event.stream,
                "version": event.version,
                "type": event.type,
                "data": data_of(event),
            }
            for record in self.answer.records
            for event in record.events
        )
        return Held(self.call, self.request, self.decided_at, self.answer.done_before, events)


def uuids_in(trials: Iterable[Trial]) -> list[str]:
    """Return every UUID that the events speak of."""
    found: dict[str, None] = {}

    def look(value: Any) -> None:
        match value:
            case str() if is_uuid(value):
                found[value] = None
            case dict():
                for one in (*value.keys(), *value.values()):
                    look(one)
            case list():
                for one in value:
                    look(one)

    for trial in trials:
        for record in trial.answer.records if trial.answer is not None else []:
            for event in record.events:
                look(event.stream.split("/"))
                look(data_of(event))
    return list(found)


def named_in(trials: Iterable[Trial]) -> dict[str, str]:
    """Return the names that objects have or would get, as far as the answers tell, by UUID."""
    names: dict[str, str] = {}
    for trial in trials:
        names.update(trial.answer.provider_names if trial.answer is not None else {})
        for record in trial.answer.records if trial.answer is not None else []:
            for event in record.events:
                data = data_of(event)
                uuid = data.get("object") if event.type == "name.assigned" else None
                uuid = uuid or event.stream.partition("/")[2]
                if is_uuid(uuid) and isinstance(data.get("name"), str) and data["name"]:
                    names[uuid] = data["name"]
    return names


def show(out: Output, trials: Sequence[Trial], names: dict[str, str]) -> None:
    """Print what would be done; ``names`` are those of the UUIDs that it speaks of."""
    if not trials:
        out.note("nothing would be sent; nothing was done")
        return
    if not out.for_people:
        out.rows([trial.held() for trial in trials], UNDECIDED)
        out.note(_conclusion(trials))
        return
    undecided = [trial.held() for trial in trials if trial.answer is None]
    decided = [trial for trial in trials if trial.answer is not None]

    def called(uuid: str) -> str:
        return names.get(uuid) or uuid

    if len(trials) == 1 and decided:
        _show_claims(out, decided[0], called)
    lines = [line for trial in decided for line in _lines(trial, called)]
    if lines:
        out.table(lines, EVENTS)
    if undecided:
        out.rows(undecided, UNDECIDED)
    out.note(_conclusion(trials))


def _show_claims(out: Output, trial: Trial, called: Names) -> None:
    assert trial.answer is not None
    for record in trial.answer.records:
        for event in record.events:
            if event.type == "claim.made":
                out.one(data_of(event), _claim(called))
                out.line("")


def _lines(trial: Trial, called: Names) -> list[Line]:
    """Return what a call would append, a line each; what has no event has a line, too."""
    assert trial.answer is not None
    lines = [
        Line("/".join(map(called, event.stream.split("/"))), event.type, said(event, called))
        for record in trial.answer.records
        for event in record.events
    ]
    about = next((str(v) for k, v in trial.request.items() if v and k != "request_id"), "")
    if trial.answer.done_before:
        done = "it was done before, under the same request id"
        return [Line(one.object, "as it is", done) for one in lines] or [Line("", "as it is", done)]
    return lines or [Line(called(about), "as it is", "there is nothing to change")]


def _claim(called: Names) -> tuple[Column, ...]:
    """Return how a claim that would be made is told: what, where, from when and until when."""

    def until(data: dict[str, Any]) -> str:
        start, end = when(data.get("start")), when(data.get("end"))
        if end is None or start is None:
            return "open"
        return f"{format_time(end)}  ({length(start, end)})"

    def places(data: dict[str, Any]) -> str:
        return "\n".join(
            f"{called(one['provider'])}  {amounts_shown(one['amounts'])}"
            for one in data.get("allocations", ())
        )

    return (
        Column("CLAIM", lambda data: data.get("name") or data.get("claim", "")),
        Column("WOULD TAKE", places),
        Column("FROM", lambda data: format_time(when(data.get("start")))),
        Column("UNTIL", until),
        Column("ON END", lambda data: data.get("on_end", "")),
        Column("CHOSEN", _chosen),
    )


def _chosen(data: dict[str, Any]) -> str:
    """Say how its providers were chosen, and whether the call itself might choose others."""
    search = data.get("search") or {}
    match search.get("policy"):
        case None:
            return "by you"
        case "random":
            return "at random: sent as a request of its own, it may get others that fit as well"
        case policy:
            return f"by policy {policy}"


def _conclusion(trials: Sequence[Trial]) -> str:
    """Say that nothing was done, who decided, and what nobody did."""
    places = sorted({trial.decided_at for trial in trials if trial.answer is not None})
    undecided = sum(trial.answer is None for trial in trials)
    if not places:
        return (
            "dry run: what it names is there; whether it would be accepted is decided when it is "
            "sent. Nothing was done"
        )
    several = f"{len(trials)} calls tried out; " if len(trials) > 1 else ""
    open_ = f"; {undecided} will be decided when they are sent" if undecided else ""
    return f"dry run: {several}decided at {places[-1]}{open_}. Nothing was done"
