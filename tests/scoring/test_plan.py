"""A plan measured on this machine, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession

from pulmospark.core import limits
from pulmospark.core.errors import InputError, UsageError
from pulmospark.models.bundle import read_bundle
from pulmospark.scoring.plan import PlanRequest, estimate, plan_scoring
from pulmospark.scoring.plan_costs import Job, Round, Shape
from pulmospark.scoring.plan_films import folder_of, laid_out, sample_films
from pulmospark.scoring.plan_measure import Bench, Measured
from pulmospark.scoring.plan_memory import processes_of
from pulmospark.scoring.plan_prepare import prepare, prepare_untrained


@pytest.mark.spark
def test_a_plan_is_measured_on_the_users_films(
    bundle: Path, films: Path, spark: SparkSession, tmp_path: Path
) -> None:
    def plan(wanted: int, executors: int) -> dict[str, float]:
        request = PlanRequest(
            films=wanted,
            executors=executors,
            cores=2,
            bundle=bundle,
            films_from=films,
            seconds=1.0,
            work=tmp_path,
        )
        result = plan_scoring(request, quiet=True)
        assert result.basis.films == f"films of {films}"
        assert (result.basis.trained, result.basis.slots) == (True, 2)
        assert result.basis.rounds >= limits.PLAN_ROUNDS_MIN
        total = result.estimate.total
        assert total.low is not None
        assert total.high is not None
        assert total.low <= total.value <= total.high
        assert total.value == pytest.approx(
            sum(part.value for part in result.estimate.seconds.values())
        )
        memory = result.memory
        assert memory.driver is not None
        assert memory.driver >= 50 * 1024**2
        other = any("reckoned for" in note for note in result.notes)
        assert other == (executors != 1)
        return {name: part.value for name, part in result.estimate.seconds.items()}

    assert set(plan(100_000, 4)) == {
        "python", "spark", "prepare", "first", "list", "score", "write"
    }  # fmt: skip
    assert not list(tmp_path.iterdir())  # nothing is left


@pytest.mark.spark
def test_films_that_cannot_be_read_are_no_measure(
    bundle: Path, spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.png").write_text("no film", encoding="utf-8")
    work = tmp_path / "work"
    sample = sample_films(tmp_path / "films", work)
    ready = prepare_untrained(read_bundle(bundle), "auto", work, spark)
    bench = Bench(spark, bundle, sample, work, 2, ready)
    with pytest.raises(InputError, match=r"none of them could be read \(not_an_image"):
        bench.run(1, 1)


@pytest.mark.spark
def test_the_precision_is_that_of_a_run_over_all_films(
    bundle: Path, spark: SparkSession, shared_data: Path, tmp_path: Path
) -> None:
    sample = sample_films(shared_data / "nih-chest-xray14", tmp_path)
    laid_out(sample, tmp_path, 40)
    read, films = read_bundle(bundle), folder_of(tmp_path, 40)
    few = prepare(read, "auto", limits.PARITY_WORTH_FILMS - 1, films, spark=spark)
    assert (few.outcome.used, few.outcome.films) == ("fp32", 0)
    many = prepare(read, "auto", limits.PARITY_WORTH_FILMS, films, spark=spark)
    assert many.outcome.reason == ""
    assert many.outcome.trials  # bf16, wherever the processor has it
    assert many.scorer.engine.precision == many.outcome.used
    # And it is what the measurement's short jobs score with.
    bench = Bench(spark, bundle, sample, tmp_path, 2, many)
    assert bench.run(2, 1).precision == many.outcome


@pytest.mark.spark
def test_an_untrained_network_takes_the_precision_that_is_named(
    bundle: Path, spark: SparkSession, tmp_path: Path
) -> None:
    read = read_bundle(bundle)
    for asked, used in (("auto", "fp32"), ("bf16", "bf16")):
        found = prepare_untrained(read, asked, tmp_path, spark)  # type: ignore[arg-type]
        assert found.outcome.used == found.scorer.engine.precision == used
        assert "not checked" in found.outcome.line()
    with pytest.raises(UsageError, match="--bundle"):
        prepare_untrained(read, "int8", tmp_path, spark)


def test_start_up_is_told_and_has_no_interval() -> None:
    jobs = (Job(20, 2, 0.2), Job(60, 2, 0.4), Job(40, 8, 0.35))
    again = (Job(20, 2, 0.21), Job(60, 2, 0.41), Job(40, 8, 0.36))
    rounds = (Round(jobs, 0.001, 0.001), Round(again, 0.001, 0.001), Round(jobs, 0.001, 0.001))
    found = Measured(rounds, 2, 1.0, 2.0, 0.0, 360)
    told = estimate(found, Shape(1000, 2, 256), {"spark": 5.0, "prepare": 1.0, "first": 2.0})
    assert told.seconds["spark"].high is None
    assert told.total.value == pytest.approx(8 + 1000 / told.films_per_second.value, rel=0.01)
    # A film costs 0.01 s of a slot: the busiest of two slots has two chunks of 256.
    assert told.seconds["score"].value == pytest.approx(5.1, abs=0.4)
    assert told.seconds["list"].value == pytest.approx(1.0)


def test_phantoms_stand_in_where_no_films_are_named(tmp_path: Path) -> None:
    sample = sample_films(None, tmp_path)
    assert "phantoms" in sample.origin
    assert sample.chunk_films == limits.CHUNK_FILES_MAX
    assert 50_000 < sample.mean_bytes < 1_000_000


def test_films_are_laid_out_under_as_many_names_as_wanted(films: Path, tmp_path: Path) -> None:
    sample = sample_films(films, tmp_path)
    assert len(sample.films) == 4  # the broken one too: it takes its time
    originals = [films / name for name in ("a.png", "b.png", "d.png", "deep/c.png")]
    assert {path.read_bytes() for path in sample.films} == {p.read_bytes() for p in originals}
    assert sample.mean_bytes == sum(path.stat().st_size for path in originals) / 4
    paths = laid_out(sample, tmp_path / "laid", 10)
    assert len({path.name for path in paths}) == 10
    for number, path in enumerate(paths):
        assert path.samefile(sample.films[number % 4])  # written once, whatever the count


def test_a_sample_has_no_more_bytes_than_its_limit(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {name: (films / name).stat().st_size for name in ("a.png", "b.png", "deep/c.png")}
    monkeypatch.setattr(limits, "PLAN_SAMPLE_BYTES_MAX", int(1.5 * max(sizes.values())))
    sample = sample_films(films, tmp_path)
    assert 1 <= len(sample.films) <= 2  # the broken one is small


def test_films_are_copied_where_no_hard_link_can_be_made(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*paths: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    sample = sample_films(films, tmp_path)
    paths = laid_out(sample, tmp_path / "laid", 5)
    for number, path in enumerate(paths):
        assert path.read_bytes() == sample.films[number % 4].read_bytes()


def test_a_folder_without_films_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--films-from"):
        sample_films(tmp_path, tmp_path / "work")


@pytest.mark.parametrize(("films", "executors", "cores"), [(0, 1, 1), (1, -1, 1), (1, 1, 0)])
def test_a_plan_needs_numbers_of_1_and_more(films: int, executors: int, cores: int) -> None:
    with pytest.raises(UsageError, match="give 1 or more"):
        PlanRequest(films=films, executors=executors, cores=cores)


def test_the_driver_is_known_among_its_processes() -> None:
    here = psutil.Process()
    assert processes_of(here)[here] == "driver"
