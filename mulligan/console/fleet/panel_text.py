"""One machine in words: what it is, what goes on, what is wrong, what happened last. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rich.text import Text

from mulligan.console.theme import (
    BAD,
    DIM,
    FAINT,
    GOOD,
    GROUND,
    LINK,
    TEXT,
    WARN,
    colour_of,
)
from mulligan.console.trouble import harmless
from mulligan.diagnosis.machines import operation_shown
from mulligan.proto.v1 import Cause, Facts, Machine, Operation
from mulligan.quantities import format_bytes, format_span, format_time
from mulligan.wording import word

_HEALTH = {"ok": GOOD, "warning": WARN, "critical": BAD}
_LABEL = 9
TIMES = "\N{MULTIPLICATION SIGN}"


def heading(machine: Machine) -> Text:
    """Return the machine's name and state."""
    state = word(machine.state)
    failed = f" {machine.failed_operation}" if machine.failed_operation else ""
    return Text.assemble(
        (harmless(machine.name or machine.uuid), f"bold {TEXT}"),
        "  ",
        (f" {state}{failed} ", f"bold {GROUND} on {colour_of(state)}"),
    )


def body(machine: Machine, rack: str, now: datetime, called: Mapping[str, str]) -> Text:
    """Return everything about a machine but its past; ``called`` are names by UUID."""
    lines = Text()
    for part in (_trouble(machine, now), _work(machine, now), _standing(machine, rack, called)):
        if part:
            lines.append_text(part)
            lines.append("\n")
    if machine.facts is not None:
        lines.append_text(_hardware(machine.facts))
    return lines


def past(causes: Sequence[Cause], now: datetime, called: Mapping[str, str]) -> Text:
    """Return what happened last, newest first; ``called`` are names by UUID."""
    lines = _section("last events")
    for cause in causes:
        ago = _ago(cause.at, now) if cause.at else ""
        lines.append(f"{ago:>8} ", style=FAINT)
        lines.append(harmless(cause.what), style=TEXT)
        who = called.get(cause.actor, cause.actor).removeprefix("service:")
        lines.append(f"  {who}\n" if who else "\n", style=FAINT)
    if not causes:
        lines.append("none\n", style=FAINT)
    return lines


def keys(*, live: bool) -> Text:
    """Return what can be asked for from here."""
    line = Text()
    known = (("a", "actions"), ("w", "why"), ("h", "history"), ("esc", "close"))
    for key, what in known:
        if key != "a" or live:
            line.append(f"{key} ", style=f"bold {LINK}").append(f"{what}  ", style=DIM)
    if not live:
        line.append("actions are off in the past", style=WARN)
    return line


def bar(done: int, of: int, width: int = 24) -> Text:
    """Return how far something is as a bar."""
    full = round(width * done / of) if of else 0
    return Text.assemble(("━" * full, LINK), ("━" * (width - full), "#263241"))


def _trouble(machine: Machine, now: datetime) -> Text | None:
    fault, health = machine.fault, machine.health
    conditions = health.conditions if health else []
    if fault is None and not conditions:
        return None
    lines = _section("trouble")
    if fault is not None:
        since = f" for {_ago(fault.since, now)}" if fault.since else ""
        lines.append(f"✖ {fault.fault}", style=f"bold {BAD}")
        lines.append(f"{since}{f' at {fault.step}' if fault.step else ''}\n", style=DIM)
        lines.append(f"{harmless(fault.message)}\n", style=TEXT)
    for one in conditions:
        lines.append(f"▲ {harmless(one.component)} ", style=_HEALTH.get(one.severity, WARN))
        lines.append(f"{harmless(one.message)}\n", style=DIM)
    return lines


def _work(machine: Machine, now: datetime) -> Text | None:
    operation: Operation | None = machine.operation
    if operation is None:
        return None
    lines = _section("under way")
    lines.append(f"{operation_shown(machine)}\n", style=TEXT)
    lines.append_text(bar(operation.step_number, operation.steps))
    lines.append("\n")
    if operation.started_at is not None:
        lines.append(f"for {_ago(operation.started_at, now)}", style=DIM)
    if operation.deadline is not None:
        left = (operation.deadline - now).total_seconds()
        told = f", {format_span(left)} left" if left > 0 else ", past its deadline"
        lines.append(told, style=DIM if left > 0 else BAD)
    return lines.append("\n")


def _standing(machine: Machine, rack: str, called: Mapping[str, str]) -> Text:
    power, health, cordon = machine.power, machine.health, machine.cordon
    lines = _section("machine")
    if power is not None:
        kept = f", to be {power.desired}" if power.desired not in ("", power.observed) else ""
        _field(lines, "power", f"{power.observed or 'unknown'}{kept}")
    if health is not None and health.health:
        _field(lines, "health", health.health, _HEALTH.get(health.health, DIM))
    if cordon is not None:
        kind = "maintenance" if cordon.maintenance else "cordoned"
        until = f" until {format_time(cordon.until)}" if cordon.until else ""
        _field(lines, "cordon", f"{kind}{until}: {cordon.reason}", WARN)
    pairs = (
        ("rack", rack),
        ("claim", called.get(machine.claim, machine.claim)),
        ("project", called.get(machine.project, machine.project)),
        ("image", called.get(machine.image, machine.image)),
        ("hostname", machine.hostname),
        ("profile", machine.profile),
        ("BMC", machine.bmc.address if machine.bmc else ""),
        ("uuid", machine.uuid),
        ("enrolled", format_time(machine.created_at)),
    )
    for name, value in pairs:
        _field(lines, name, value)
    if machine.unwiped:
        _field(lines, "disks", "a tenant's data may be on them", WARN)
    return lines


def _hardware(facts: Facts) -> Text:
    lines = _section("hardware")
    cores = (
        f"{facts.cpu_sockets} {TIMES} {facts.cpu_model}".strip(f" 0{TIMES}")
        if facts.cpu_model
        else ""
    )
    _field(lines, "model", f"{facts.manufacturer} {facts.model}".strip())
    _field(lines, "serial", facts.serial)
    _field(lines, "CPU", f"{cores}, {facts.cpu_cores} cores" if facts.cpu_cores else cores)
    _field(lines, "memory", format_bytes(facts.memory_bytes) if facts.memory_bytes else "")
    _field(lines, "disks", _counted(format_bytes(one.bytes) for one in facts.disks))
    _field(lines, "NICs", _counted(_speed(one.speed_mbps) for one in facts.nics))
    _field(lines, "GPUs", _counted(f"{one.vendor} {one.model}" for one in facts.accelerators))
    _field(lines, "BIOS", facts.bios_version)
    _field(lines, "BMC fw", facts.bmc_firmware)
    return lines


def _speed(mbps: int) -> str:
    return f"{mbps // 1000} Gbit/s" if mbps >= 1000 else f"{mbps} Mbit/s" if mbps else "no link"


def _counted(items: Iterable[str]) -> str:
    """Return equal things with their number: ``4 x 1.8TiB, 480GiB``."""
    counts: dict[str, int] = {}
    for item in items:
        counts[item] = counts.get(item, 0) + 1
    return ", ".join(_times(n, item) for item, n in counts.items())


def _times(number: int, item: str) -> str:
    return f"{number} {TIMES} {item}" if number > 1 else item


def _ago(then: datetime, now: datetime) -> str:
    """Return how long ago something was; clocks may differ a little, so it is never ahead."""
    return format_span(max(0, int((now - then).total_seconds())))


def _section(title: str) -> Text:
    return Text(f"{title.upper()}\n", style=f"bold {LINK}")


def _field(lines: Text, name: str, value: str, colour: str = TEXT) -> None:
    if value:
        lines.append(f"{name:<{_LABEL}}", style=FAINT)
        lines.append(f"{harmless(value)}\n", style=colour)
