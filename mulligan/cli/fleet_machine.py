"""The machines and hardware profiles of a fleet file: what should be, and what is different."""

import dataclasses
from collections.abc import Iterator, Mapping

from mulligan.cli.enrol_list import bmc_key, plain_fingerprint
from mulligan.cli.fleet import BmcSpec, Located, MachineSpec, ProfileSpec, Wanted
from mulligan.cli.fleet_step import Actual, Step, difference, same
from mulligan.cli.profile import DEADLINES
from mulligan.errors import InvalidArgument
from mulligan.proto import v1
from mulligan.quantities import parse_span

NO_PROFILE = "none"


def machine_step(
    spec: MachineSpec, place: Located, actual: Actual, names: Mapping[str, str]
) -> Step:
    """Return what makes a machine what it should be: enrolled, or reached in another way."""
    trusts = (bool(spec.bmc.insecure), spec.bmc.pin, bool(spec.bmc.fingerprint))
    if sum(trusts) > 1:
        raise InvalidArgument(place.at("bmc"), "give one of insecure, pin and fingerprint")
    found = actual.machines.get(spec.name)
    if found is None:
        bmc, profile = _bmc(spec.bmc), _wished(spec)
        request = v1.EnrollMachineRequest(
            name=spec.name, parent=spec.parent, bmc=bmc, profile=profile
        )
        details = [f"+ bmc: {bmc.address} {bmc.system}".rstrip(), f"+ credential: {bmc.credential}"]
        details += [f"+ profile: {profile}"] if profile else []
        return Step("create", "machine", spec.name, place, tuple(details), request)
    _check_parent(spec, place, actual, names)
    now = found.bmc or v1.Bmc()
    wanted = _changed(spec.bmc, now, names)
    if wanted is None:
        return Step("unchanged", "machine", spec.name, place)
    details = difference(_reached(now, names), _reached(wanted, names))
    update = v1.UpdateMachineRequest(machine=found.uuid, etag=found.etag, bmc=wanted)
    return Step("change", "machine", spec.name, place, tuple(details), update)


def assigning_steps(wanted: Wanted, actual: Actual) -> Iterator[Step]:
    """Yield what gives machines that are there already the hardware profile of the file."""
    for name, (spec, place) in wanted.machines.items():
        found = actual.machines.get(name)
        profile = _wished(spec)
        if found is None or not spec.profile or profile == found.profile:
            continue
        old, new = ({"profile": one} if one else {} for one in (found.profile, profile))
        details = tuple(difference(old, new))
        request = v1.UpdateMachineRequest(machine=found.uuid, profile=profile)
        yield Step("change", "machine", name, place, details, request)


def _wished(spec: MachineSpec) -> str:
    return "" if spec.profile == NO_PROFILE else spec.profile


def profile_steps(wanted: Wanted, actual: Actual, names: Mapping[str, str]) -> Iterator[Step]:
    """Yield what makes each hardware profile what it should be."""
    for name, (spec, place) in wanted.profiles.items():
        profile = _profile(spec, place)
        found = actual.profiles.get(name)
        old = _treated(found, names) if found else {}
        new = _treated(profile, names)
        if old == new:
            yield Step("unchanged", "profile", name, place)
            continue
        request = v1.SetProfileRequest(profile=profile)
        details = tuple(difference(old, new))
        yield Step("change" if found else "create", "profile", name, place, details, request)


def _bmc(spec: BmcSpec) -> v1.Bmc:
    return v1.Bmc(
        address=spec.address.rstrip("/"),
        credential=spec.credential,
        system=str(spec.system),
        insecure=bool(spec.insecure),
        fingerprint=plain_fingerprint(spec.fingerprint),
        pin=spec.pin,
    )


def _changed(spec: BmcSpec, found: v1.Bmc, names: Mapping[str, str]) -> v1.Bmc | None:
    """Return how the BMC is to be reached; None when that is how it is."""
    wanted = _bmc(spec)
    wanted.system = wanted.system or found.system
    if bmc_key(wanted.address, "") == bmc_key(found.address, ""):
        wanted.address = found.address
    if found.credential in (wanted.credential, *_uuids(wanted.credential, names)):
        wanted.credential = found.credential
    if spec.insecure is None:
        wanted.insecure = found.insecure
    if not spec.fingerprint and not (spec.pin and not (found.pin or found.fingerprint)):
        wanted.fingerprint, wanted.pin = found.fingerprint, found.pin
    if wanted.insecure:
        wanted.fingerprint, wanted.pin = "", False
    return None if dataclasses.asdict(wanted) == dataclasses.asdict(found) else wanted


def _uuids(name: str, names: Mapping[str, str]) -> list[str]:
    return [uuid for uuid, one in names.items() if one == name]


def _reached(bmc: v1.Bmc, names: Mapping[str, str]) -> dict[str, str]:
    """Write how a BMC is reached so that two mean the same if and only if they read the same."""
    trust = "not checked" if bmc.insecure else bmc.fingerprint or ("first seen" if bmc.pin else "")
    return {
        "bmc": f"{bmc.address} {bmc.system}".rstrip(),
        "credential": names.get(bmc.credential, bmc.credential),
        **({"certificate": trust} if trust else {}),
    }


def _check_parent(
    spec: MachineSpec, place: Located, actual: Actual, names: Mapping[str, str]
) -> None:
    provider = actual.providers.get(spec.name)
    if spec.parent and provider is not None and spec.parent != provider.parent:
        parent = names.get(provider.parent, provider.parent)
        hint = f"move it with `mulligan provider update {spec.name} --parent {spec.parent}`"
        same(place, "parent", parent, spec.parent, hint)


def _profile(spec: ProfileSpec, place: Located) -> v1.HardwareProfile:
    for verb in spec.deadlines:
        if verb not in DEADLINES:
            raise InvalidArgument(
                place.at("deadlines", verb), f"is no verb of {', '.join(DEADLINES)}"
            )
    return v1.HardwareProfile(
        name=spec.name,
        manufacturer=spec.manufacturer,
        model=spec.model,
        deadlines={
            verb: int(parse_span(str(span), place.at("deadlines", verb)).total_seconds())
            for verb, span in spec.deadlines.items()
        },
        clean=list(spec.clean),
        wipe_image=spec.wipe_image,
    )


def _treated(profile: v1.HardwareProfile, names: Mapping[str, str]) -> dict[str, str]:
    """Write a profile so that two mean the same if and only if they read the same."""
    written = {
        "manufacturer": profile.manufacturer or "*",
        "model": profile.model or "*",
        "clean": ", ".join(profile.clean),
        "wipe_image": names.get(profile.wipe_image, profile.wipe_image),
        **{f"deadline {verb}": f"{s}s" for verb, s in profile.deadlines.items()},
    }
    return {key: value for key, value in written.items() if value}
