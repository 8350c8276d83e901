"""Formats of the log: which events a release can read.

A release that knows more types than the last one, or newer schema versions, reads a newer format.
Events of a format are written only once every live service reads it (``mulligan.log.format``), so
the services of a region can be upgraded one by one, in any order.
"""

from collections.abc import Mapping, Sequence

from mulligan.events.codec import EVENT_TYPES, UPCASTERS, schema_version

EventForm = tuple[str, int]
"""A type and a schema version of it."""

_0_1_0 = """
    account.certificate_bound account.certificate_unbound account.created account.deleted
    account.disabled account.enabled account.role_bound account.role_unbound account.secret_set
    account.session_opened account.session_revoked account.tokens_revoked brake.applied
    brake.released checkpoint.signed claim.allocation_released claim.cancelled claim.ended
    claim.ending claim.made claim.moved claim.released claim.rescheduled claim.reshaped
    claim.started claim.stranded credential.created credential.deleted
    credential.rotation_finished credential.rotation_started credential.versions_destroyed
    denial.attempts distance.created distance.extended group.created group.deleted
    group.members_added group.members_removed image.created image.deleted key.created
    key.retired machine.abandoned machine.action_requested machine.bmc_password_proven
    machine.bmc_set machine.claim_detached machine.cordoned machine.deleted
    machine.desired_power_set machine.disks_wiped machine.enrolled machine.hardware_changed
    machine.hardware_event_seen machine.health_observed machine.logins_allowed
    machine.operation_completed machine.operation_failed machine.operation_started
    machine.phoned_home machine.power_observed machine.profile_assigned machine.reinstated
    machine.retired machine.step_attempted machine.step_observed machine.task_started
    machine.uncordoned machine.withdrawn metadata.changed metadef.changed metadef.created
    metadef.deleted name.assigned name.released profile.deleted profile.set project.created
    project.deleted project.disabled project.enabled provider.attributes_set
    provider.capabilities_set provider.capacity_freed provider.capacity_taken
    provider.child_added provider.child_removed provider.cordoned provider.created
    provider.deleted provider.distances_set provider.inventories_set provider.moved
    provider.shares_set provider.turnaround_set provider.uncordoned quota.baselined quota.freed
    quota.set quota.taken quota.tracked region.created region.secrets_rekeyed serial.abandoned
    serial.cleaned serial.freed serial.held userdata.created userdata.deleted
"""

RELEASED: Sequence[frozenset[EventForm]] = (frozenset((type_, 1) for type_ in _0_1_0.split()),)
"""What each released format added, the first one first; it is appended to at a release."""


def formats(
    released: Sequence[frozenset[EventForm]], newest: Mapping[str, int]
) -> dict[EventForm, int]:
    """Return the format that each event needs, of the schema versions that are written now.

    What no release had yet is of the format after theirs.
    """
    known = {form: number for number, forms in enumerate(released, 1) for form in forms}
    return {form: known.get(form, len(released) + 1) for form in newest.items()}


FORMAT_OF: Mapping[EventForm, int] = formats(
    RELEASED, {type_: schema_version(type_, UPCASTERS) for type_ in EVENT_TYPES}
)
"""The format that each event needs that this release writes."""

FORMAT = max(FORMAT_OF.values())
"""The newest format that this release reads and writes."""
