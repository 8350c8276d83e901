"""For each alert: what Prometheus sees, when there is no alert yet, and what the alert says.

Series are in Prometheus's own notation, a value each minute: ``0 1x9`` is a 0 and then ten times 1.
"""

from collections.abc import Mapping, Sequence

import msgspec


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """An alert is not there at ``before``, and is at ``after``, both in minutes."""

    series: Mapping[str, str]
    before: int
    after: int
    summary: str
    severity: str = "warning"
    labels: Mapping[str, str] = {}


AT_IAM = 'instance="n1:8001",job="mulligan"'
IAM = {"instance": "n1:8001", "job": "mulligan"}


def _slow(metric: str, labels: str = "") -> Mapping[str, str]:
    """Return a histogram in which everything takes longer than half a second."""
    return {
        f'{metric}_bucket{{{labels}le="0.5"}}': "0x30",
        f'{metric}_bucket{{{labels}le="1"}}': "0+60x30",
        f'{metric}_bucket{{{labels}le="+Inf"}}': "0+60x30",
    }


TRIALS: Mapping[str, Trial] = {
    "MulliganServiceDown": Trial(
        series={f"up{{{AT_IAM}}}": "1 1 0x9"},
        before=2,
        after=4,
        severity="critical",
        labels=IAM,
        summary="n1:8001 does not answer",
    ),
    "MulliganNotServing": Trial(
        series={f"mulligan_serving{{{AT_IAM}}}": "1 1 0x9"},
        before=2,
        after=4,
        severity="critical",
        labels=IAM,
        summary="n1:8001 runs and does not serve",
    ),
    "MulliganLogHalted": Trial(
        series={f"mulligan_log_halted{{{AT_IAM}}}": "0 0 1x9"},
        before=1,
        after=2,
        severity="critical",
        labels=IAM,
        summary="the log halted at n1:8001",
    ),
    "MulliganStoreDown": Trial(
        series={f'mulligan_store_up{{{AT_IAM},store="etcd"}}': "1 1 0x9"},
        before=2,
        after=4,
        severity="critical",
        labels={**IAM, "store": "etcd"},
        summary="etcd does not answer n1:8001",
    ),
    "MulliganCommitsSlow": Trial(
        series=_slow("mulligan_commit_seconds"),
        before=3,
        after=10,
        summary="one commit in a hundred takes longer than half a second",
    ),
    "MulliganCallsFail": Trial(
        series={f'mulligan_calls_total{{{AT_IAM},status="INTERNAL"}}': "0 0 0 0+1x9"},
        before=3,
        after=6,
        severity="critical",
        labels={"instance": "n1:8001"},
        summary="calls fail unexpectedly at n1:8001",
    ),
    "MulliganCallsUnavailable": Trial(
        series={
            'mulligan_calls_total{status="OK"}': "0+90x30",
            'mulligan_calls_total{status="UNAVAILABLE"}': "0+10x30",
        },
        before=4,
        after=10,
        summary="more than one call in twenty is told that something is away",
    ),
    "MulliganCallsRefused": Trial(
        series={'mulligan_calls_refused_total{reason="token"}': "0+600x30"},
        before=4,
        after=10,
        summary="somebody tries tokens or secrets",
    ),
    "MulliganProjectionHalted": Trial(
        series={'mulligan_projection_halted{projection="claims"}': "0 1x9"},
        before=0,
        after=2,
        severity="critical",
        labels={"projection": "claims"},
        summary="projection claims halted",
    ),
    "MulliganProjectionLags": Trial(
        series={'mulligan_projection_lag_seconds{projection="claims"}': "0 0 9x9"},
        before=2,
        after=4,
        labels={"projection": "claims"},
        summary="projection claims lags",
    ),
    "MulliganNoProjector": Trial(
        series={'mulligan_projection_live{projection="claims"}': "1 1 stale"},
        before=1,
        after=4,
        severity="critical",
        summary="no projector works",
    ),
    "MulliganArchiveStuck": Trial(
        series={"mulligan_archive_stuck": "0 1x20"},
        before=9,
        after=12,
        summary="the archiver does not get on",
    ),
    "MulliganNoArchiver": Trial(
        series={"mulligan_archive_copied_position": "7 7 stale"},
        before=5,
        after=8,
        summary="no archiver works",
    ),
    "MulliganCopyLate": Trial(
        series={
            "mulligan_archive_lag_entries": "40x40",
            "mulligan_archive_copied_timestamp_seconds": "0x40",
        },
        before=16,
        after=25,
        summary="40 entries have been in etcd alone for long",
    ),
    "MulliganBackupOverdue": Trial(
        series={"mulligan_backup_overdue": "0 1x40"},
        before=15,
        after=17,
        summary="the sealed secrets are in no fresh backup",
    ),
    "MulliganEtcdFills": Trial(
        series={
            "mulligan_etcd_used_bytes": "50 70x20",
            "mulligan_etcd_quota_bytes": "100x20",
        },
        before=5,
        after=8,
        summary="etcd uses 70B, more than 60 % of its quota",
    ),
    "MulliganEtcdMemberAway": Trial(
        series={"mulligan_etcd_members": "3x9", "mulligan_etcd_members_away": "0 0 1x9"},
        before=2,
        after=4,
        summary="1 members of etcd do not answer",
    ),
    "MulliganBrakeOn": Trial(
        series={"mulligan_brakes_applied": "0 2x9"},
        before=0,
        after=2,
        severity="critical",
        summary="the brake is on in 2 domains",
    ),
    "MulliganMachinesFailed": Trial(
        series={'mulligan_machines{state="failed"}': "0 3x30"},
        before=15,
        after=17,
        summary="3 machines are failed",
    ),
    "MulliganOperationsLate": Trial(
        series={"mulligan_operations_late": "0 1x30"},
        before=5,
        after=7,
        summary="1 operations are past their deadline",
    ),
    "MulliganBmcLoginsStopped": Trial(
        series={"mulligan_bmc_breakers_open": "0 4x30"},
        before=5,
        after=7,
        summary="4 BMC logins are refused and tried no more",
    ),
    "MulliganLoopLags": Trial(
        series=_slow("mulligan_event_loop_lag_seconds", 'instance="n1:8001",'),
        before=3,
        after=10,
        labels={"instance": "n1:8001"},
        summary="n1:8001 is overloaded",
    ),
    "MulliganCertificateEnds": Trial(
        series={
            f'mulligan_certificate_ends_timestamp_seconds{{{AT_IAM},certificate="ca"}}': (
                f"{30 * 86400 + 150}x9"
            )
        },
        before=2,
        after=4,
        labels={**IAM, "certificate": "ca"},
        summary="the ca certificate at n1:8001 ends soon",
    ),
    "MulliganMixedVersions": Trial(
        series={
            'mulligan_build_info{service="iam",version="1"}': "1x90",
            'mulligan_build_info{service="meta",version="2"}': "1x90",
        },
        before=50,
        after=62,
        summary="services run different versions",
    ),
}
"""Keyed by the alert's name. Prometheus's tool begins at the epoch, as do timestamps here."""


def written(name: str, trial: Trial, rules: str) -> Mapping[str, object]:
    """Return a trial as Prometheus's tool reads it."""
    alert = {
        "exp_labels": {"severity": trial.severity, **trial.labels},
        "exp_annotations": {
            "summary": trial.summary,
            "runbook_url": f"docs/observability.md#{name.lower()}",
        },
    }
    moments: Sequence[Mapping[str, object]] = (
        {"eval_time": f"{trial.before}m", "alertname": name, "exp_alerts": []},
        {"eval_time": f"{trial.after}m", "alertname": name, "exp_alerts": [alert]},
    )
    return {
        "rule_files": [rules],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": series, "values": values} for series, values in trial.series.items()
                ],
                "alert_rule_test": list(moments),
            }
        ],
    }
