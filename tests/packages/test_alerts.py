"""The alert rules, by the judgement of Prometheus's own tool."""

import subprocess
from pathlib import Path

import pytest

from tests.packages.parts import PROMTOOL

RULES = Path(__file__).parents[2] / "packaging" / "prometheus" / "alerts.yml"

pytestmark = pytest.mark.packages

TRIAL = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'mulligan_projection_halted{{projection="claims"}}', values: '0 1 1 1'}}
      - {{series: 'mulligan_etcd_used_bytes', values: '70x20'}}
      - {{series: 'mulligan_etcd_quota_bytes', values: '100x20'}}
    alert_rule_test:
      - eval_time: 2m
        alertname: MulliganProjectionHalted
        exp_alerts:
          - exp_labels: {{severity: critical, projection: claims}}
            exp_annotations:
              summary: projection claims halted
              runbook_url: docs/observability.md#mulliganprojectionhalted
      - eval_time: 2m
        alertname: MulliganEtcdFills
        exp_alerts: []
      - eval_time: 10m
        alertname: MulliganEtcdFills
        exp_alerts:
          - exp_labels: {{severity: warning}}
            exp_annotations:
              summary: "etcd uses 70B, more than 60 % of its quota"
              runbook_url: docs/observability.md#mulliganetcdfills
"""


@pytest.fixture(scope="module")
def promtool() -> Path:
    """Prometheus's tool, which `nox -s packages` brings."""
    if not PROMTOOL.exists():
        pytest.skip(f"there is no {PROMTOOL}: `nox -s packages` brings it")
    return PROMTOOL


def run(*words: str | Path) -> str:
    """Run a command to its end; fail with what it says if it fails."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_every_rule(promtool: Path) -> None:
    assert "SUCCESS" in run(promtool, "check", "rules", RULES)


def test_alerts_come_when_they_should_and_not_before(promtool: Path, tmp_path: Path) -> None:
    trial = tmp_path / "trial.yml"
    trial.write_text(TRIAL.format(rules=RULES))
    assert "SUCCESS" in run(promtool, "test", "rules", trial)
