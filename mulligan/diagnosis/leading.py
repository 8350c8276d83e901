"""Which instance does for all of its service what one of them has to do."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mulligan.diagnosis.found import Status

DUTIES = {
    "read-models": "read models",
    "archive": "the archive",
    "checkpoints": "checkpoints",
    "claim-timers": "claims' times",
    "claim-migration": "moves off failed providers",
}
STANDS_BY = "stands by"


def leads_of(found: "Status") -> dict[str, str]:
    """Return what each instance does for all others, or that it stands by for that.

    One that does neither is not in it, nor is one of a release that does not tell.
    """
    told: dict[str, str] = {}
    for seen in found.instances:
        one = seen.instance
        if one.leads:
            told[one.instance] = ", ".join(DUTIES.get(duty, duty) for duty in one.leads)
        elif one.stands_by:
            told[one.instance] = STANDS_BY
    return told
