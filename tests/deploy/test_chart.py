"""The Helm chart, rendered by Helm itself and checked against the schemas of what it makes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import jsonschema
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

import pulmospark
from pulmospark.cli.main import cli

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "pulmospark"
_SCHEMA = json.loads((Path(__file__).parent / "spark_application.json").read_text())
_KUBERNETES = ("1.27", "1.32")
"""the oldest that the chart takes, and a later one"""
_STORE = {"bundle": "s3://a/bundle", "images": ["s3://a/in"], "out": "s3://a/out"}
_CASES: dict[str, dict[str, Any]] = {
    "on Spark": {"predict": {"enabled": True}},
    "on Spark, from a store, with GPUs": {
        "predict": {"enabled": True, **_STORE, "arguments": ["--heatmaps", "png"]},
        "claim": {"name": ""},
        "credentials": ["store"],
        "pullSecrets": ["registry"],
        "executors": {"gpus": 1, "nodeSelector": {"pool": "spot"}, "tolerations": [{"key": "x"}]},
        "spark": {"conf": {"spark.eventLog.enabled": "false"}},
        "serve": {"enabled": True},
    },
    "in a pod, and a service": {
        "predict": {"enabled": True, "engine": "local"},
        "credentials": ["store"],
        "pullSecrets": ["registry"],
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"}},
        "serve": {"enabled": True, "hosts": ["xray.example.org"], "stateClaim": "state"},
    },
}


def rendered(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects that Helm would install."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        texts = chart.render(values, name="mine", namespace="research")
    for text in texts.values():
        yield from filter(None, yaml.safe_load_all(text))


@pytest.mark.parametrize("name", _CASES)
def test_each_object_is_one_that_kubernetes_takes(name: str) -> None:
    objects = list(rendered(_CASES[name]))
    assert len(objects) >= 2
    for each in objects:
        if each["kind"] == "SparkApplication":
            jsonschema.Draft202012Validator(_SCHEMA).validate(each)
        else:
            for version in _KUBERNETES:
                kubernetes_validate.validate(each, version, strict=True)


def test_a_misspelt_field_is_refused() -> None:
    """The schemas can tell: a field that they do not know fails."""
    (spark,) = (o for o in rendered(_CASES["on Spark"]) if o["kind"] == "SparkApplication")
    spark["spec"]["executor"]["memoryOverhed"] = "1g"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(_SCHEMA).validate(spark)


def test_nothing_is_installed_unasked() -> None:
    assert [each["kind"] for each in rendered({})] == ["ServiceAccount"]


@pytest.mark.parametrize(
    "values",
    [
        {"predict": {"bundle": "bundle"}},
        {"predict": {"engine": "ray"}},
        {"executors": {"memory": "1 GB"}},
        {"executors": {"max": 0}},
        {"serve": {"bundle": "s3://a/bundle"}},
        {"spark": {"version": "3.5.1"}},
        {"predicts": {}},
    ],
)
def test_wrong_values_are_refused_before_anything_is_installed(values: dict[str, Any]) -> None:
    with helm.Chart.load(CHART) as chart, pytest.raises(helm.HelmValuesError):
        chart.validate_schema(values)


def test_the_chart_is_of_this_version_and_lints_clean() -> None:
    assert [m for m in helm.lint(CHART, strict=True)["messages"] if m["severity"] > 1] == []
    with helm.Chart.load(CHART) as chart:
        assert chart.metadata["appVersion"] == pulmospark.__version__
        values = chart.values
    assert {values[i]["tag"] for i in ("image", "workerImage")} == {pulmospark.__version__}


def _commands() -> Iterator[list[str]]:
    for each in rendered(_CASES["in a pod, and a service"]):
        if each["kind"] in {"Job", "Deployment"}:
            (container,) = each["spec"]["template"]["spec"]["containers"]
            assert container["args"][0] == "pulmospark"
            yield container["args"][1:]
    for each in rendered(_CASES["on Spark, from a store, with GPUs"]):
        if each["kind"] == "SparkApplication":
            yield each["spec"]["arguments"]


def test_the_command_lines_have_options_that_there_are() -> None:
    """With ``--help`` after them, click reads them and does nothing."""
    commands = list(_commands())
    assert sorted(words[0] for words in commands) == ["predict", "predict", "serve"]
    for words in commands:
        done = CliRunner().invoke(cli, [*words, "--nonsense"])
        assert "No such option" in done.output and "--nonsense" in done.output, done.output


def test_probes_name_a_host_that_the_service_answers() -> None:
    (deployment,) = (
        o for o in rendered(_CASES["in a pod, and a service"]) if o["kind"] == "Deployment"
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for probe in ("readinessProbe", "livenessProbe"):
        headers = container[probe]["httpGet"]["httpHeaders"]
        assert headers == [{"name": "Host", "value": "xray.example.org"}]
    assert deployment["spec"]["replicas"] == 1  # one process owns the ledger
