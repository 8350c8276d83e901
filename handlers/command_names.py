"""Every command by its name, as commits of the log name it."""

from collections.abc import Mapping

from mulligan.handlers import (
    account,
    account_ends,
    actions,
    application,
    brake,
    certificates,
    checkpoint,
    claim,
    claim_changes,
    claim_ends,
    completion,
    credential,
    denial,
    deployment,
    distance,
    enrolment,
    group,
    image,
    metadata,
    metadef,
    observations,
    operations,
    profile,
    project,
    provider_commands,
    quota,
    region,
    reports,
    rotation,
    sessions,
    signing,
    upkeep,
    userdata,
)
from mulligan.handlers.decision import Command

_MODULES = (
    account, account_ends, actions, application, brake, certificates, checkpoint, claim,
    claim_changes, claim_ends, completion, credential, denial, deployment, distance, enrolment,
    group, image, metadata, metadef, observations, operations, profile, project, provider_commands,
    quota, region, reports, rotation, sessions, signing, upkeep, userdata,
)  # fmt: skip

COMMANDS: Mapping[str, type[Command]] = {
    cls.NAME: cls
    for module in _MODULES
    for cls in vars(module).values()
    if isinstance(cls, type) and issubclass(cls, Command) and cls.__module__ == module.__name__
}
"""A name is for ever: a command that is renamed keeps its old name as the log has it."""
