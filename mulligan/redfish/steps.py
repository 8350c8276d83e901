"""The step catalogue: how each step of ``mulligan.handlers.steps`` is done and looked for.

``run_step`` is the only way in. What a BMC or an image does wrong never leaves it as an exception:
it becomes an outcome, with the digests of every exchange that led to it.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import anyio
import msgspec

from mulligan.events.machine import Exchange, Facts, Mode, Outcome, Power
from mulligan.redfish import boot, media, power
from mulligan.redfish.answers import text
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.digests import Record, note, recording
from mulligan.redfish.faults import Ambiguous, BmcFault
from mulligan.redfish.inspect import inspect
from mulligan.redfish.media_server import MediaServer


class StepContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a step works with. ``action`` names the attempt and makes its media URL unique."""

    bmc: BmcClient
    action: str
    params: Mapping[str, str] = {}
    media: MediaServer | None = None


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a step: the fields of ``events.machine.StepObserved`` but action and time."""

    outcome: Outcome
    message: str = ""
    fault: str = ""
    recovered: bool = False
    power: Power | None = None
    facts: Facts | None = None
    notes: tuple[str, ...] = ()
    exchanges: tuple[Exchange, ...] = ()


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How one step is done.

    ``look`` tells whether the effect is there, without changing anything: None while it is not.
    It raises ``unknown-outcome`` where nobody can tell. ``limit`` bounds ``perform``, in seconds.
    """

    mode: Mode
    perform: Callable[[StepContext], Awaitable[Observation]]
    look: Callable[[StepContext], Awaitable[Observation | None]] | None = None
    limit: float = 900.0


def _done(message: str, **found: object) -> Observation:
    return msgspec.convert({"outcome": "done", "message": message, **found}, Observation)


# -- reading ---------------------------------------------------------------------------------


async def _check(context: StepContext) -> Observation:
    bmc = context.bmc
    root = await bmc.root()
    system = await bmc.system()
    if bmc.origin.startswith("http:"):
        note("the BMC is reached without TLS")
    elif bmc.bmc.fingerprint:
        note("the BMC's certificate matches its pinned fingerprint")
    elif not bmc.bmc.verify:
        note("the BMC's certificate is not checked, as enrolled")
    version = text(root.get("RedfishVersion")) or "of unknown version"
    return _done(f"Redfish {version}, {system.path}", power=power.power_of(system.body))


async def _inventory(context: StepContext) -> Observation:
    facts = await inspect(context.bmc)
    missing = f"; not offered: {', '.join(facts.missing)}" if facts.missing else ""
    return Observation(outcome="done", message=f"inspected{missing}", facts=facts)


async def _observe_power(context: StepContext) -> Observation:
    now = await power.stable_power(context.bmc)
    return _done(f"power is {now}", power=now)


async def _wait_ready(context: StepContext) -> Observation:
    wanted = context.params.get("ready_when", "power-on")
    if wanted != "power-on":
        raise BmcFault("bad-params", f"ready_when {wanted!r} is not known; use power-on")
    limit = context.bmc.timings.ready
    now = await power.wait_for_power(context.bmc, "on", limit)
    if now == "on":
        return _done("powered on", power=now)
    raise BmcFault("not-ready", f"{context.bmc.origin} reports power {now} after {limit:.0f} s")


# -- power -----------------------------------------------------------------------------------


async def _power_on(context: StepContext) -> Observation:
    return await _to_power(context, "on", power.ON, context.bmc.timings.power)


async def _power_off(context: StepContext) -> Observation:
    target = context.params.get("target", "ForceOff")
    timings = context.bmc.timings
    if target == "GracefulShutdown":
        return await _to_power(context, "off", power.GRACEFUL_OFF, timings.graceful)
    if target != "ForceOff":
        raise BmcFault("bad-params", f"target {target!r}: use ForceOff or GracefulShutdown")
    return await _to_power(context, "off", power.OFF, timings.power)


async def _to_power(
    context: StepContext, wanted: Power, kinds: tuple[str, ...], limit: float
) -> Observation:
    bmc = context.bmc
    if await power.stable_power(bmc) == wanted:
        return _done(f"was {wanted} already", power=wanted)
    try:
        kind = await power.reset(bmc, kinds)
    except BmcFault as fault:
        # Some BMCs refuse a change to the state that they are in, or are going to.
        if isinstance(fault, Ambiguous) or fault.status not in (400, 409):
            raise
        if await power.wait_for_power(bmc, wanted, bmc.timings.look_for) != wanted:
            raise
        return _done(f"is {wanted}, though the BMC refused: {fault.message}", power=wanted)
    now = await power.wait_for_power(bmc, wanted, limit)
    if now == wanted:
        return _done(f"powered {wanted} by {kind}", power=now)
    advice = "; try ForceOff" if kinds is power.GRACEFUL_OFF else ""
    raise BmcFault(
        "timeout", f"{bmc.origin} accepted {kind} and reports {now} after {limit:.0f} s{advice}"
    )


def _looks_powered(wanted: Power) -> Callable[[StepContext], Awaitable[Observation | None]]:
    async def look(context: StepContext) -> Observation | None:
        if await power.stable_power(context.bmc, limit=5.0) != wanted:
            return None
        return _done(f"is {wanted}", power=wanted)

    return look


async def _reset(context: StepContext) -> Observation:
    bmc = context.bmc
    target = context.params.get("target", "ForceRestart")
    if target not in power.RESTARTS:
        raise BmcFault("bad-params", f"target {target!r}: use {' or '.join(power.RESTARTS)}")
    before = (await bmc.system()).body
    if power.power_of(before) == "off":
        raise BmcFault("refused", f"{bmc.origin} reports power off; power the machine on instead")
    try:
        await power.reset(bmc, (target,))
    except Ambiguous as fault:
        await anyio.sleep(bmc.timings.poll)
        after = text((await bmc.system()).body.get("LastResetTime"))
        if after and after != text(before.get("LastResetTime")):
            note(fault.message)
            return Observation(
                outcome="done", message=f"{target}: last reset at {after}", recovered=True
            )
        raise
    return _done(f"{target} accepted")


async def _cannot_look(context: StepContext) -> Observation | None:
    raise BmcFault(
        "unknown-outcome",
        f"{context.bmc.origin} was told to reset and nothing shows whether it did; look at the "
        "machine's console, then run the operation again if it did not restart",
    )


# -- media -----------------------------------------------------------------------------------


def _server(context: StepContext) -> MediaServer:
    if context.media is None:
        raise BmcFault("bad-params", "this executor runs no media server: it cannot serve images")
    return context.media


def _param(context: StepContext, name: str) -> str:
    value = context.params.get(name, "")
    if not value:
        raise BmcFault("bad-params", f"the step needs the parameter {name!r}")
    return value


async def _stage_image(context: StepContext) -> Observation:
    url, sha256 = _param(context, "image_url"), _param(context, "sha256")
    path = await _server(context).stage(url, sha256)
    return _done(f"image of {path.stat().st_size} bytes is here, sha256 {sha256}")


def _media_url(context: StepContext) -> str:
    """Return the given ``url``, else that of the image as published for this action."""
    if context.params.get("url"):
        return context.params["url"]
    url, sha256 = _param(context, "image_url"), _param(context, "sha256")
    return _server(context).publish(url, sha256, context.action)


async def _insert_media(context: StepContext) -> Observation:
    if not context.params.get("url"):
        # Staged by an earlier step, but perhaps by another executor.
        await _stage_image(context)
    url = _media_url(context)
    if await media.find_inserted(context.bmc, url) is not None:
        return _done("was inserted already")
    await _eject(context)
    slot = await media.insert(context.bmc, url)
    if context.media is not None and (read := context.media.fetched(url)).bytes:
        note(f"the BMC has read {read.bytes} of {read.size} bytes from the media server")
    return _done(f"inserted into {slot.path}")


async def _look_inserted(context: StepContext) -> Observation | None:
    slot = await media.find_inserted(context.bmc, _media_url(context))
    return None if slot is None else _done(f"is in {slot.path}")


async def _eject(context: StepContext) -> int:
    out = await media.eject_all(context.bmc)
    for url in out:
        if context.media is not None:
            context.media.withdraw(url)
    return len(out)


async def _eject_media(context: StepContext) -> Observation:
    count = await _eject(context)
    return _done(f"ejected {count}" if count else "all drives were empty")


async def _boot_once(context: StepContext) -> Observation:
    device, mode = context.params.get("device", "cd"), context.params.get("mode", "uefi")
    if device not in boot.DEVICES or mode not in boot.MODES:
        raise BmcFault(
            "bad-params",
            f"device {device!r}, mode {mode!r}: use {', '.join(boot.DEVICES)} and "
            f"{', '.join(boot.MODES)}",
        )
    await boot.boot_once(context.bmc, device, mode)
    return _done(f"boots once from {device} ({mode})")


async def _clear_boot(context: StepContext) -> Observation:
    await boot.clear_boot(context.bmc)
    return _done("boots as it does by itself")


STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "check": Step(mode="observe", perform=_check, limit=300),
        "inventory": Step(mode="observe", perform=_inventory),
        "observe_power": Step(mode="observe", perform=_observe_power, limit=300),
        "wait_ready": Step(mode="observe", perform=_wait_ready),
        "power_on": Step(mode="once", perform=_power_on, look=_looks_powered("on")),
        "power_off": Step(mode="once", perform=_power_off, look=_looks_powered("off")),
        "reset": Step(mode="once", perform=_reset, look=_cannot_look),
        "stage_image": Step(mode="idempotent", perform=_stage_image, limit=7200),
        "insert_media": Step(mode="once", perform=_insert_media, look=_look_inserted, limit=7200),
        "eject_media": Step(mode="idempotent", perform=_eject_media),
        "boot_once": Step(mode="idempotent", perform=_boot_once),
        "clear_boot": Step(mode="idempotent", perform=_clear_boot),
    }
)


async def run_step(name: str, context: StepContext, *, resume: bool) -> Observation:
    """Do one step and return what came of it; raise KeyError for a step that does not exist.

    With ``resume`` an earlier call may have sent the step before a crash: a ``once`` step is then
    looked for, and not sent.
    """
    step = STEPS[name]
    with recording() as record:
        try:
            seen = await _outcome(name, step, context, resume=resume)
        except BmcFault as fault:
            seen = _failed(fault)
        finally:
            context.bmc.release_connections()
    return _with_record(seen, record)


def _failed(fault: BmcFault) -> Observation:
    outcome: Outcome = "retry" if fault.heals else "fatal"
    return Observation(outcome=outcome, fault=fault.fault, message=fault.message)


def _with_record(seen: Observation, record: Record) -> Observation:
    notes = record.notes
    if record.left_out:
        notes = [*notes, f"{record.left_out} repeated or middle exchanges are not listed"]
    return msgspec.structs.replace(seen, notes=tuple(notes), exchanges=record.exchanges)


async def _outcome(name: str, step: Step, context: StepContext, *, resume: bool) -> Observation:
    if resume and step.look is not None:
        return await _settle(name, step.look, context)
    try:
        with anyio.fail_after(step.limit):
            return await step.perform(context)
    except TimeoutError:
        fault: BmcFault = BmcFault("timeout", f"{name} took longer than {step.limit:.0f} s")
    except Ambiguous as ambiguous:
        fault = ambiguous
    if step.look is None:
        raise fault
    note(fault.message)
    return await _settle(name, step.look, context)


async def _settle(
    name: str, look: Callable[[StepContext], Awaitable[Observation | None]], context: StepContext
) -> Observation:
    """Look for the effect until it shows or has had its time; never send anything.

    A BMC that cannot be asked meanwhile makes the outcome ``ambiguous``: the next attempt of any
    step that can be looked for begins with a look.
    """
    timings = context.bmc.timings
    deadline = anyio.current_time() + timings.look_for
    while True:
        trouble: BmcFault | None = None
        try:
            found = await look(context)
        except BmcFault as fault:
            if not fault.heals:
                raise
            found, trouble = None, fault
        if found is not None:
            return msgspec.structs.replace(found, recovered=True)
        if anyio.current_time() >= deadline:
            break
        await anyio.sleep(timings.poll)
    if trouble is not None:
        raise BmcFault("ambiguous", f"cannot look whether {name} was applied: {trouble.message}")
    raise BmcFault(
        "not-applied",
        f"{name} has no effect on {context.bmc.origin} {timings.look_for:.0f} s after it was sent",
    )
