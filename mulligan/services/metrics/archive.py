"""The metrics of mulligan-archiver: how far the archive is, and etcd's space."""

from collections.abc import Callable, Iterator

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class ArchiveTally(msgspec.Struct, frozen=True, kw_only=True):
    """How far the archive is; bytes of etcd are those of the last look.

    ``copied_at`` and ``saved_at``, of the secrets, are seconds of the epoch, 0 for never.
    """

    sealed: int
    copied: int
    head: int
    segments: int
    segment_bytes: int
    stuck: bool
    copied_at: float
    store_bytes: int
    store_used_bytes: int
    store_quota_bytes: int
    saved_at: float
    overdue: bool
    members: int
    members_away: int


class ArchiveMetrics(Collector):
    """Looks at ``tally`` when somebody asks; None where another instance archives."""

    def __init__(
        self, registry: CollectorRegistry, tally: Callable[[], ArchiveTally | None]
    ) -> None:
        self._tally = tally
        registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return how far it is."""
        found = self._tally()
        if found is None:
            return
        copied = max(found.sealed, found.copied)
        for name, text, value in (
            ("archive_sealed_position", "The last entry in a segment.", found.sealed),
            ("archive_copied_position", "The last entry outside of etcd.", copied),
            ("archive_lag_entries", "Entries in etcd alone.", max(0, found.head - copied)),
            ("archive_segments", "Segments.", found.segments),
            ("archive_segment_bytes", "Bytes of all segments.", found.segment_bytes),
            ("archive_copied_timestamp_seconds", "When all was copied.", found.copied_at),
            ("archive_stuck", "1 while it does not get on.", found.stuck),
            ("etcd_bytes", "etcd's file.", found.store_bytes),
            ("etcd_used_bytes", "Of it in use.", found.store_used_bytes),
            ("etcd_quota_bytes", "Where etcd refuses writes.", found.store_quota_bytes),
            ("secrets_saved_timestamp_seconds", "When secrets were saved.", found.saved_at),
            ("backup_overdue", "1 while secrets are in no fresh backup.", found.overdue),
            ("etcd_members", "Members of etcd.", found.members),
            ("etcd_members_away", "Those that do not answer.", found.members_away),
        ):
            yield GaugeMetricFamily(f"mulligan_{name}", text, value=value)
