"""Machines as messages."""

from mulligan.events.machine import Facts
from mulligan.handlers.machine import Cleaned, Machine
from mulligan.handlers.operation import Operation
from mulligan.model import RegionName
from mulligan.proto import v1
from mulligan.queries.machines import MachineBrief
from mulligan.queries.paging import Object
from mulligan.services.gate.visibility import machine_held
from mulligan.services.render import Versioned, etag


def machine(row: Versioned, region: RegionName, *, operator: bool) -> v1.Machine:
    """Render a machine; its BMC, who cordoned it and its proofs are for operators only."""
    state: Machine = row.state if operator else machine_held(row.state)
    return v1.Machine(
        uuid=state.id,
        name=state.name,
        state=v1.MachineState[state.state.upper()],
        failed_operation=state.failed,
        power=v1.PowerStatus(
            observed=state.power, observed_at=state.power_at, desired=state.desired
        ),
        claim=state.claim,
        project=state.project,
        image=state.image,
        bmc=_bmc(state) if operator else None,
        facts=_facts(state.facts, operator=operator) if state.facts is not None else None,
        operation=_operation(state.operation) if state.operation is not None else None,
        fault=_fault(state),
        created_at=row.created_at,
        updated_at=row.updated_at,
        etag=etag(row),
        region=region,
        health=_health(state),
        cordon=_cordon(state),
        profile=state.profile,
        user_data=state.user_data,
        hostname=state.hostname,
        host_keys=dict(state.host_keys),
        phoned_at=state.phoned_at,
        cleaned=_cleaned(state.cleaned) if operator and state.cleaned is not None else None,
        unwiped=state.unwiped,
        rescue_image=state.rescue,
    )


def brief(row: Object[MachineBrief], *, operator: bool) -> v1.Machine:
    """Render what tables show of a machine, and nothing else."""
    state = row.state if operator else machine_held(row.state)
    cordon, facts = state.cordon, state.facts
    return v1.Machine(
        uuid=state.id,
        name=state.name,
        state=v1.MachineState[state.state.upper()],
        failed_operation=state.failed,
        power=v1.PowerStatus(observed=state.power, desired=state.desired),
        claim=state.claim,
        project=state.project,
        image=state.image,
        facts=v1.Facts(manufacturer=facts.manufacturer, model=facts.model) if facts else None,
        operation=_operation(state.operation) if state.operation is not None else None,
        fault=_fault(state),
        updated_at=row.updated_at,
        health=v1.HealthStatus(health=state.health),
        cordon=v1.MachineCordon(maintenance=cordon.maintenance) if cordon is not None else None,
    )


def _health(state: Machine) -> v1.HealthStatus:
    return v1.HealthStatus(
        health=state.health,
        observed_at=state.health_at,
        conditions=[
            v1.Condition(
                component=c.component,
                severity=c.severity,
                message=c.message,
                message_id=c.message_id,
            )
            for c in state.conditions
        ],
    )


def _cordon(state: Machine) -> v1.MachineCordon | None:
    cordon = state.cordon
    if cordon is None:
        return None
    return v1.MachineCordon(
        by=cordon.by,
        reason=cordon.reason,
        since=cordon.since,
        until=cordon.until,
        maintenance=cordon.maintenance,
    )


def _cleaned(cleaned: Cleaned) -> v1.Cleaning:
    return v1.Cleaning(
        at=cleaned.at,
        profile=cleaned.profile,
        steps=list(cleaned.steps),
        disks=[
            v1.DiskProof(
                serial=p.serial,
                method=p.method,
                bytes=p.bytes,
                verified=p.verified,
                error=p.error,
            )
            for p in cleaned.proofs
        ],
    )


def _bmc(state: Machine) -> v1.Bmc:
    return v1.Bmc(
        address=state.bmc.address,
        credential=state.bmc.credential,
        system=state.bmc.system,
        insecure=not state.bmc.verify,
        fingerprint=state.bmc.fingerprint,
        pin=state.bmc.pin,
    )


def _operation(operation: Operation) -> v1.Operation:
    action, retry = operation.action, operation.retry
    attempt = action.attempt if action is not None else retry.attempt if retry is not None else 0
    return v1.Operation(
        id=operation.id,
        verb=operation.verb,
        step=operation.step,
        step_number=min(operation.done + 1, len(operation.steps)),
        steps=len(operation.steps),
        attempt=attempt,
        started_at=operation.started_at,
        deadline=operation.deadline,
        owner=action.owner if action is not None else "",
    )


def _fault(state: Machine | MachineBrief) -> v1.Fault | None:
    if state.fault is not None:
        fault = state.fault
        return v1.Fault(
            fault=fault.fault, message=fault.message, step=fault.step, since=fault.since
        )
    if state.operation is not None and state.operation.retry is not None:
        retry = state.operation.retry
        return v1.Fault(
            fault=retry.fault, message=retry.message, step=state.operation.step, since=retry.at
        )
    return None


def _facts(facts: Facts, *, operator: bool) -> v1.Facts:
    return v1.Facts(
        manufacturer=facts.manufacturer,
        model=facts.model,
        serial=facts.serial,
        sku=facts.sku,
        uuid=facts.uuid,
        bios_version=facts.bios_version,
        bmc_firmware=facts.bmc_firmware if operator else "",
        arch=facts.arch,
        cpu_vendor=facts.cpu_vendor,
        cpu_model=facts.cpu_model,
        cpu_sockets=facts.cpu_sockets,
        cpu_cores=facts.cpu_cores,
        cpu_threads=facts.cpu_threads,
        memory_bytes=facts.memory_bytes,
        memory_modules=facts.memory_modules,
        memory_ecc=facts.memory_ecc,
        nics=[v1.Nic(id=n.id, mac=n.mac, speed_mbps=n.speed_mbps, link=n.link) for n in facts.nics],
        disks=[
            v1.Disk(
                id=d.id,
                bytes=d.bytes,
                media=d.media,
                model=d.model,
                serial=d.serial,
                protocol=d.protocol,
            )
            for d in facts.disks
        ],
        accelerators=[
            v1.Accelerator(
                id=a.id, kind=a.kind, vendor=a.vendor, model=a.model, memory_bytes=a.memory_bytes
            )
            for a in facts.accelerators
        ],
        firmware=[
            v1.Firmware(name=f.name, version=f.version)
            for f in (facts.firmware if operator else ())
        ],
        boot_targets=list(facts.boot_targets),
        boot_modes=list(facts.boot_modes),
        http_boot=facts.http_boot,
        cd_drives=facts.cd_drives,
        secure_boot=facts.secure_boot,
        tpm=facts.tpm,
        raid=facts.raid,
        power_supplies=facts.power_supplies,
        missing=list(facts.missing),
    )
