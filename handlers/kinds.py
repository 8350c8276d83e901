"""Every stream kind: the state it folds to and the fold."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from mulligan.handlers import (
    account,
    brake,
    checkpoint,
    claim,
    credential,
    denial,
    distance,
    group,
    image,
    machine,
    metadata,
    metadef,
    names,
    profile,
    provider,
    quota,
    region,
    serial,
    userdata,
)


class StreamKind(NamedTuple):
    """How one kind of stream folds: ``evolve(state or None, event, commit time) -> state``."""

    state: type
    evolve: Callable[[Any, Any, datetime], Any]


KINDS: Mapping[str, StreamKind] = {
    "account": StreamKind(account.Account, account.evolve),
    "brake": StreamKind(brake.Brake, brake.evolve),
    "checkpoint": StreamKind(checkpoint.Checkpoint, checkpoint.evolve),
    "claim": StreamKind(claim.Claim, claim.evolve),
    "credential": StreamKind(credential.Credential, credential.evolve),
    "denial": StreamKind(denial.Denials, denial.evolve),
    "distance": StreamKind(distance.DistanceType, distance.evolve),
    "group": StreamKind(group.Group, group.evolve),
    "image": StreamKind(image.Image, image.evolve),
    "key": StreamKind(account.SigningKey, account.evolve_key),
    "machine": StreamKind(machine.Machine, machine.evolve),
    "metadata": StreamKind(metadata.Metadata, metadata.evolve),
    "metadef": StreamKind(metadef.Metadef, metadef.evolve),
    "name": StreamKind(names.NameState, names.evolve),
    "profile": StreamKind(profile.Profiles, profile.evolve),
    "project": StreamKind(account.Project, account.evolve_project),
    "provider": StreamKind(provider.Provider, provider.evolve),
    "quota": StreamKind(quota.Quota, quota.evolve),
    "region": StreamKind(region.Region, region.evolve),
    "serial": StreamKind(serial.Serial, serial.evolve),
    "userdata": StreamKind(userdata.UserData, userdata.evolve),
}
