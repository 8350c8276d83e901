"""Pages about the log: reading, proving, keeping, replaying it, and what is folded from it."""

from collections.abc import Mapping

from tests.docs.given.common import CLAIM, ETCD_OF, available, project
from tests.docs.guide import Guide

_BUSY = f"{available('node-1')}{project('web')}{CLAIM}\n"

GUIDES: Mapping[str, Guide] = {
    "how-to/keep-the-log-small": Guide(
        given=_BUSY,
        before={"mulligan archive verify --location": "mulligan log keys > log-keys.json"},
        instead={"s3://backups/region-west": "$STATE/archive"},
        bmcs=1,
    ),
    "how-to/read-the-log": Guide(
        given=_BUSY,
        before={
            "mulligan log verify --file": """
                export NOTE=$(sed -n 's/.*note \\([0-9]*:[0-9a-f]*\\) elsewhere/\\1/p' $LAST)
            """,
            "cd ": f"export ETCD=$({ETCD_OF} $STATE/config.toml)",
        },
        instead={
            "--to 5000": "--to 20",
            "--from 5001": "--from 21",
            "SEQ:HASH": "$NOTE",
            "127.0.0.1:2379": "$ETCD",
        },
        endless=frozenset({"mulligan log tail -f"}),
        bmcs=1,
    ),
    "how-to/rebuild-read-models": Guide(given=_BUSY, ends={"mulligan projection retry": 6}, bmcs=1),
    "how-to/replay-a-log": Guide(
        given=f"{_BUSY}mulligan archive seal\nexport PGHOST=$STATE/postgres PGUSER=postgres",
        instead={
            "/var/lib/mulligan/archive": "$STATE/archive",
            "s3://logs/west": "$STATE/archive",
            "2026-03-01T00:00:00Z": "$(date --utc +%FT%TZ)",
        },
        bmcs=1,
    ),
    "observability": Guide(
        given=available("node-7"),
        bmcs=1,
        settings={"MULLIGAN_TRACE_ENDPOINT": "http://127.0.0.1:9"},
    ),
}
