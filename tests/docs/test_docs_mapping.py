"""The class mapping of the experiment on three public sets, on the sets themselves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from docs.pages import EXAMPLES
from pulmospark.config.experiment import read_experiment
from pulmospark.config.source import SourceSettings
from pulmospark.data.cohort.class_mapping import map_findings
from pulmospark.layouts.manifest import write_manifest

EXPERIMENT = read_experiment(EXAMPLES / "covid_pneumonia_normal.toml")
FOLDERS = [source.path.name for source in EXPERIMENT.sources]


def test_the_mapping_takes_each_class_from_more_than_one_source(
    shared_data: Path, tmp_path: Path
) -> None:
    sources = [SourceSettings(path=shared_data / name) for name in FOLDERS]
    listings = write_manifest(sources, tmp_path / "manifest.parquet")
    pairs = [(one.name, finding) for one in listings for finding in one.findings]
    mapped = map_findings(pairs, EXPERIMENT.classes)
    origins = Counter(label for (_, _), label in {((s, ""), mapped[s, f]) for s, f in pairs})
    assert origins["pneumonia"] == 3
    assert origins["normal"] == 3
    assert origins["COVID-19"] == 1  # no other of the three has images of it
    assert mapped["covid_chestxray", "COVID-19, ARDS"] == "COVID-19"
    assert mapped["covid_chestxray", "ARDS"] is None
    assert mapped["nih14", "Infiltration"] is None


@pytest.mark.parametrize(
    ("finding", "label"),
    [
        ("Pneumonia/Viral/COVID-19", "COVID-19"),
        ("Pneumonia/Viral/SARS", "pneumonia"),
        ("Pneumonia/Viral/Influenza/H1N1", "pneumonia"),
        ("Pneumonia/Bacterial/Staphylococcus/MRSA", "pneumonia"),
        ("Pneumonia", "pneumonia"),
        ("Pneumonia/Lipoid", None),
        ("Tuberculosis", None),
        ("No Finding", "normal"),
    ],
)
def test_the_mapping_knows_the_newer_spelling(finding: str, label: str | None) -> None:
    pair = ("covid_chestxray", finding)
    assert map_findings([pair], EXPERIMENT.classes) == {pair: label}
