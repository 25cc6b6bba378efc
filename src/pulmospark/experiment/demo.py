"""The demo: the whole pipeline on phantoms that it draws itself."""

from __future__ import annotations

from pathlib import Path

from pulmospark.config.experiment import Experiment
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.config.train import NetworkSettings, TrainSettings
from pulmospark.core import machine
from pulmospark.core.progress import Progress
from pulmospark.phantoms.write import PhantomSummary, write_phantoms

PHANTOM_CLASSES: dict[str, tuple[str, ...]] = {
    "COVID-19": ("COVID-19",),
    "pneumonia": ("Pneumonia",),
    "normal": ("No Finding",),
}


def draw_demo(folder: Path, *, seed: int, patients: int, quiet: bool = False) -> PhantomSummary:
    """Draw the demo's phantoms into ``folder/phantoms``, on all cores.

    Args:
        folder: of the demo.
        seed: of the drawing.
        patients: how many.
        quiet: show no progress.
    """
    with Progress("draw phantoms", 0, "images", quiet=quiet) as progress:
        return write_phantoms(
            folder / "phantoms",
            seed=seed,
            patients=patients,
            processes=machine.cores(),
            progress=progress,
        )


def demo_experiment(folder: Path, phantoms: PhantomSummary, *, processes: int) -> Experiment:
    """The experiment that the demo runs: the paper's basic CNN, trained on Spark.

    Args:
        folder: of the demo; the run goes into ``folder/phantom-demo``.
        phantoms: what was drawn.
        processes: of the distributed training.
    """
    return Experiment(
        name="phantom-demo",
        out=folder,
        seed=phantoms.seed,
        phantoms=True,
        sources=tuple(
            SourceSettings(
                path=phantoms.folder / hospital.name,
                layout="covid_chestxray",
                name=f"phantom_{hospital.name}",
            )
            for hospital in phantoms.hospitals
        ),
        classes=PHANTOM_CLASSES,
        ingest=IngestSettings(size=96),
        train=TrainSettings(
            model="basic_cnn",
            method="network",
            weights="none",
            processes=processes,
            network=NetworkSettings(epochs=8, batch_size=16, learning_rate=2e-3),
        ),
    )
