"""What one instance of a service does for all of them, by the names that it is told by."""

from collections.abc import Mapping
from types import MappingProxyType

CLAIM_TIMERS = "claim-timers"
CLAIM_MIGRATION = "claim-migration"
CHECKPOINTS = "checkpoints"
ARCHIVE = "archive"
READ_MODELS = "read-models"
"""The projector with the work lock in Postgres has it; the others are chosen by hashing."""

DUTIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "resource": (CLAIM_TIMERS, CLAIM_MIGRATION),
        "log": (CHECKPOINTS,),
        "archiver": (ARCHIVE,),
    }
)
"""What a service has one of its instances do, each chosen by ``Share.mine``."""
