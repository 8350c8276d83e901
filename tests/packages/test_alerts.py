"""The alert rules, by the judgement of Prometheus's own tool."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.packages.alert_trials import TRIALS, written
from tests.packages.parts import PROMTOOL

RULES = Path(__file__).parents[2] / "packaging" / "prometheus" / "alerts.yml"

pytestmark = pytest.mark.packages


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


def test_every_alert_is_tried() -> None:
    rules = yaml.safe_load(RULES.read_text())
    assert set(TRIALS) == {rule["alert"] for group in rules["groups"] for rule in group["rules"]}


@pytest.mark.parametrize("alert", TRIALS)
def test_an_alert_comes_when_it_should_and_not_before(
    alert: str, promtool: Path, tmp_path: Path
) -> None:
    file = tmp_path / "trial.yml"
    file.write_text(yaml.safe_dump(written(alert, TRIALS[alert], str(RULES))))
    assert "SUCCESS" in run(promtool, "test", "rules", file)
