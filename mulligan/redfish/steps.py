"""The step catalogue: how each step of ``mulligan.handlers.steps`` is done and looked for.

``run_step`` is the only way in. What a BMC or an image does wrong never leaves it as an exception:
it becomes an outcome, with the digests of every exchange that led to it.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import anyio
import msgspec

from mulligan.events.machine import Outcome, Power
from mulligan.redfish import bios, boot, media_steps, passwords, power
from mulligan.redfish.answers import text
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.booting import clear_boot_after_power_on
from mulligan.redfish.check import check
from mulligan.redfish.digests import Record, note, recording
from mulligan.redfish.faults import Ambiguous, BmcFault
from mulligan.redfish.inspect import inspect
from mulligan.redfish.step import Observation, Step, StepContext, done, is_set

__all__ = ["STEPS", "Observation", "Step", "StepContext", "run_step"]


# -- reading ---------------------------------------------------------------------------------


async def _inventory(context: StepContext) -> Observation:
    facts = await inspect(context.bmc)
    missing = f"; not offered: {', '.join(facts.missing)}" if facts.missing else ""
    return Observation(outcome="done", message=f"inspected{missing}", facts=facts)


async def _observe_power(context: StepContext) -> Observation:
    now = await power.stable_power(context.bmc)
    return done(f"power is {now}", power=now)


async def _wait_ready(context: StepContext) -> Observation:
    wanted = context.params.get("ready_when", "power-on")
    if wanted != "power-on":
        raise BmcFault("bad-params", f"ready_when {wanted!r} is not known; use power-on")
    limit = context.bmc.timings.ready
    now = await power.wait_for_power(context.bmc, "on", limit)
    if now == "on":
        return done("powered on", power=now)
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
        return done(f"was {wanted} already", power=wanted)
    try:
        kind = await power.reset(bmc, kinds)
    except BmcFault as fault:
        # Some BMCs refuse a change to the state that they are in, or are going to.
        if isinstance(fault, Ambiguous) or fault.status not in (400, 409):
            raise
        if await power.wait_for_power(bmc, wanted, bmc.timings.look_for) != wanted:
            raise
        return done(f"is {wanted}, though the BMC refused: {fault.message}", power=wanted)
    now = await power.wait_for_power(bmc, wanted, limit)
    if now == wanted:
        return done(f"powered {wanted} by {kind}", power=now)
    advice = "; try ForceOff" if kinds is power.GRACEFUL_OFF else ""
    raise BmcFault(
        "timeout", f"{bmc.origin} accepted {kind} and reports {now} after {limit:.0f} s{advice}"
    )


def _looks_powered(wanted: Power) -> Callable[[StepContext], Awaitable[Observation | None]]:
    async def look(context: StepContext) -> Observation | None:
        if await power.stable_power(context.bmc, limit=5.0) != wanted:
            return None
        return done(f"is {wanted}", power=wanted)

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
        after = await _last_reset(bmc)
        if after and after != text(before.get("LastResetTime")):
            note(fault.message)
            return Observation(
                outcome="done", message=f"{target}: last reset at {after}", recovered=True
            )
        raise
    return done(f"{target} accepted")


async def _last_reset(bmc: BmcClient) -> str:
    """Return when the BMC says that it reset the system last, empty when it does not say.

    A fault of this look must not take the place of the open outcome: it would be tried again.
    """
    try:
        return text((await bmc.system()).body.get("LastResetTime"))
    except BmcFault as fault:
        note(fault.message)
        return ""


async def _cannot_look(context: StepContext) -> Observation | None:
    raise BmcFault(
        "unknown-outcome",
        f"{context.bmc.origin} was told to reset and nothing shows whether it did; look at the "
        "machine's console, then run the operation again if it did not restart",
    )


# -- boot ------------------------------------------------------------------------------------


async def _boot_once(context: StepContext) -> Observation:
    device, mode = context.params.get("device", "cd"), context.params.get("mode", "uefi")
    if device not in boot.DEVICES or mode not in boot.MODES:
        raise BmcFault(
            "bad-params",
            f"device {device!r}, mode {mode!r}: use {', '.join(boot.DEVICES)} and "
            f"{', '.join(boot.MODES)}",
        )
    await boot.boot_once(context.bmc, device, mode)
    return done(f"boots once from {device} ({mode})")


async def _clear_boot(context: StepContext) -> Observation:
    if is_set(context, "after_power_on"):
        return done(await clear_boot_after_power_on(context.bmc))
    await boot.clear_boot(context.bmc)
    return done("boots as it does by itself")


async def _bios_reset(context: StepContext) -> Observation:
    await bios.reset_bios(context.bmc)
    return done("BIOS settings are at their defaults from the next boot on")


STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "check": Step(mode="observe", perform=check, limit=300),
        "inventory": Step(mode="observe", perform=_inventory),
        "observe_power": Step(mode="observe", perform=_observe_power, limit=300),
        "wait_ready": Step(mode="observe", perform=_wait_ready),
        "power_on": Step(mode="once", perform=_power_on, look=_looks_powered("on")),
        "power_off": Step(mode="once", perform=_power_off, look=_looks_powered("off")),
        "reset": Step(mode="once", perform=_reset, look=_cannot_look),
        "stage_image": Step(mode="idempotent", perform=media_steps.stage_image, limit=7200),
        "insert_media": Step(
            mode="once",
            perform=media_steps.insert_media,
            look=media_steps.look_for_media,
            limit=7200,
        ),
        "insert_seed": Step(
            mode="once", perform=media_steps.insert_seed, look=media_steps.look_for_seed
        ),
        "eject_media": Step(mode="idempotent", perform=media_steps.eject_media),
        "boot_once": Step(mode="idempotent", perform=_boot_once),
        "boot_http": Step(mode="idempotent", perform=media_steps.boot_http, limit=7200),
        "clear_boot": Step(mode="idempotent", perform=_clear_boot, limit=1800),
        "bios_reset": Step(mode="idempotent", perform=_bios_reset),
        "find_password": Step(mode="observe", perform=passwords.find_password, limit=300),
        "change_password": Step(mode="idempotent", perform=passwords.change_password, limit=600),
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
            context.bmc.release_connections()  # whatever comes next begins afresh
    return _with_record(seen, record)


def _failed(fault: BmcFault) -> Observation:
    outcome: Outcome = "retry" if fault.heals else "fatal"
    return Observation(
        outcome=outcome, fault=fault.fault, message=fault.message, password=fault.password
    )


def _with_record(seen: Observation, record: Record) -> Observation:
    notes = record.notes
    if record.left_out:
        notes = [*notes, f"{record.left_out} repeated or middle exchanges are not listed"]
    return msgspec.structs.replace(seen, notes=tuple(notes), exchanges=record.exchanges)


async def _outcome(name: str, step: Step, context: StepContext, *, resume: bool) -> Observation:
    if resume and step.look is not None:
        if context.monitor and await _task_ended(context, step.limit):
            return await _after_task(name, step.look, context)
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


async def _task_ended(context: StepContext, limit: float) -> bool:
    """Follow the task that a crash had left; tell whether it was seen to end well.

    Raise ``refused`` when it failed: it was not applied then.
    """
    try:
        with anyio.fail_after(limit):
            await context.bmc.follow(context.monitor)
    except Ambiguous as fault:
        note(fault.message)
        return False
    except TimeoutError:
        note(f"the task {context.monitor} has no end after {limit:.0f} s")
        return False
    return True


async def _after_task(
    name: str, look: Callable[[StepContext], Awaitable[Observation | None]], context: StepContext
) -> Observation:
    """Look for the effect of a task that ended well; its end is enough where nothing else shows."""
    try:
        return await _settle(name, look, context)
    except BmcFault as fault:
        if fault.fault != "unknown-outcome":
            raise
        return Observation(outcome="done", message=f"{name}: its task ended well", recovered=True)


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
