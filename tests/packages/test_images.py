"""The container image and the chart: what their tools say, and what comes out of them."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml

from mulligan import __version__
from mulligan.config import load
from mulligan.services.serve import SERVICES
from tests.packages.conftest import PACKAGING

pytestmark = pytest.mark.packages

CHART = PACKAGING / "helm" / "mulligan"
GIVEN: Mapping[str, Any] = {
    "region": "east",
    "existingSecret": "east",
    "postgres": {"existingSecret": "east-postgres"},
    "archive": {"location": "s3://bucket/east"},
    "etcd": {"endpoints": ["etcd-0.etcd:2379", "etcd-1.etcd:2379"]},
}
MORE: Mapping[str, Any] = {
    **GIVEN,
    "etcd": {"endpoints": ["etcd:2379"], "existingSecret": "etcd"},
    "config": {"limits": {"rate": 5.5}, "archive": {"keep_days": 30}},
    "executor": {"hostNetwork": True, "nodeSelector": {"bmc": "yes"}},
    "extraEnv": [{"name": "AWS_REGION", "value": "eu-1"}],
    "metrics": {"enabled": True, "portOffset": 2000},
}
KUBERNETES = ("1.27", "1.31")


def rendered(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the objects that the chart makes."""
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name="mulligan", namespace="fleet")
    for name, text in files.items():
        if name.endswith(".yaml"):
            yield from filter(None, yaml.safe_load_all(text))


def test_the_image_passes_its_linter() -> None:
    tool = Path(sys.executable).with_name("hadolint")
    dockerfile = PACKAGING / "docker" / "Dockerfile"
    done = subprocess.run(
        [str(tool), str(dockerfile)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("values", [GIVEN, MORE], ids=["given", "more"])
def test_the_chart_passes_its_linter(values: Mapping[str, Any]) -> None:
    found = helm.lint(str(CHART), dict(values), strict=True)
    assert (found["messages"], found["errors"]) == ([], [])


def test_the_chart_is_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", [GIVEN, MORE], ids=["given", "more"])
def test_kubernetes_knows_every_object(values: Mapping[str, Any], version: str) -> None:
    for one in rendered(values):
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("values", [GIVEN, MORE], ids=["given", "more"])
def test_the_services_can_read_their_configuration(
    values: Mapping[str, Any], tmp_path: Path
) -> None:
    (page,) = (one["data"]["config.toml"] for one in rendered(values) if one["kind"] == "ConfigMap")
    file = tmp_path / "config.toml"
    file.write_text(page)
    config = load(
        file, {"MULLIGAN_LISTEN_IAM": "mulligan-iam-0.mulligan-iam:7001"}, check_files=False
    )
    assert config.region == "east"
    assert config.metrics.port_offset == values.get("metrics", {}).get("portOffset", 1000)
    assert config.limits.rate == values.get("config", {}).get("limits", {}).get("rate", 2000.0)


def test_every_service_runs_and_none_is_run_that_does_not_exist() -> None:
    run = {
        one["spec"]["template"]["spec"]["containers"][0]["args"][1]
        for one in rendered(GIVEN)
        if one["kind"] == "StatefulSet"
    }
    assert run == set(SERVICES)


def test_each_instance_is_called_by_a_name_that_its_certificate_can_have() -> None:
    for one in rendered(GIVEN):
        if one["kind"] == "StatefulSet":
            name = one["metadata"]["name"]
            assert one["spec"]["serviceName"] == name
            environment = one["spec"]["template"]["spec"]["containers"][0]["env"]
            listens = [e["value"] for e in environment if e["name"].startswith("MULLIGAN_LISTEN_")]
            assert [value.rpartition(":")[0] for value in listens] == [
                f"$(POD_NAME).{name}.$(POD_NAMESPACE).svc.cluster.local"
            ]


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        ("region", "region is not set"),
        ("existingSecret", "existingSecret is not set"),
        ("postgres", "postgres.existingSecret is not set"),
        ("archive", "archive.location is not set"),
        ("etcd", "etcd.endpoints is empty"),
    ],
)
def test_what_is_left_out_is_asked_for(left_out: str, told: str) -> None:
    values = {key: value for key, value in GIVEN.items() if key != left_out}
    with pytest.raises(helm.HelmError, match=told):
        list(rendered(values))


def test_a_misspelt_value_is_refused() -> None:
    with pytest.raises(helm.HelmError, match="regoin"):
        list(rendered({**GIVEN, "regoin": "west"}))
