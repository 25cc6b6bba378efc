"""Planted faults of models, each with the audit that runs the model; and models of clean images.

All images are phantoms of one look: nothing but the lungs tells the class. A model is an ImageNet
network, frozen, with a logistic regression on its features, trained on half of the images. A
fault is drawn into the images, or put into the model, and the model is then trained and audited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.linear_model import LogisticRegression

from benchmarks.audit_images import clean_subject
from benchmarks.common import (
    PROCESSES,
    Options,
    Report,
    goal,
    say,
    scratch,
    weights_folder,
)
from pulmospark.audit import augmented_copies, features, heat_maps, out_of_distribution, shortcuts
from pulmospark.audit.model_outputs import Scored
from pulmospark.audit.occlusion import COVERS, lung_region
from pulmospark.audit.results import AuditResult
from pulmospark.audit.subject import Subject
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.errors import PulmosparkError
from pulmospark.imaging.image import StandardImage, image_from_bytes
from pulmospark.imaging.lung_segmentation import find_lungs
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.open_engine import open_engine
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.models.bundle.bundle import read_bundle, write_bundle
from pulmospark.models.bundle.card import CardFacts
from pulmospark.models.bundle.config import BundleConfig
from pulmospark.models.weights.imagenet import load_imagenet
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.logistic_head import set_linear_head
from pulmospark.models.zoo.network import Network
from pulmospark.phantoms.draw import draw_image, encode, random_person
from pulmospark.phantoms.hospitals import HOSPITALS
from pulmospark.phantoms.opacities import Finding

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

DRAWN = 1200
"""phantoms that all sets are drawn from"""
IMAGES = 600
"""of a set; one a patient"""
CLEAN = 40
REPEATS = 5
GOAL_ALARMS = 0.05
CLASSES = ("normal", "pneumonia")
_FINDINGS = (Finding.NORMAL, Finding.PNEUMONIA)
_COVERS = {
    "covered_lungs": ("whole", "only lungs", "without lungs", "only border"),
    "burned_in_text": ("whole", "without text"),
}
"""covers that an audit looks at; the others take whole images"""
_MODEL = "mobilenet_v2"
_SURE = "never_shown"
_CAREFUL = 0.05
"""what the logits of the model are multiplied by that is sure of nothing"""
_REGULAR = 0.05
"""C of the regression on standardised features"""


@dataclass(frozen=True)
class World:
    """The phantoms, what a network makes of them under every cover, and the network."""

    images: Pixels
    region: npt.NDArray[np.bool_]
    labels: Labels
    known: dict[str, Floats]
    """cover -> features"""
    engine: EngineSpec
    network: Network
    folder: Path


@dataclass
class Case:
    """One set of images and the model that was trained on them."""

    subject: Subject
    images: Pixels
    labels: Labels
    known: dict[str, Floats]
    sharp: float = 1.0
    """what the model's logits are multiplied by"""


Plant = Callable[[World, Case, np.random.Generator], Case]


@dataclass(frozen=True)
class Fault:
    """One fault at one strength; ``least`` is the verdict that it must have."""

    audit: str
    told: str
    plant: Plant
    least: str


# ---- the audits ----------------------------------------------------------------------------


def model_audits() -> dict[str, Callable[[World, Case, Scored], AuditResult]]:
    """Audits that look at a model, by name."""
    return {
        "covered_lungs": lambda _, case, scored: shortcuts.covered(case.subject, scored),
        "burned_in_text": lambda _, case, scored: shortcuts.burned_in_text(case.subject, scored),
        "source_in_features": lambda _, case, scored: features.source(case.subject, scored),
        "left_out_source": lambda _, case, scored: features.left_out_source(case.subject, scored),
        "unlike_images": lambda _, case, scored: features.unlike(case.subject, scored),
        "never_shown": _never_shown,
        "heat_maps": _heat_maps,
    }


def _never_shown(world: World, case: Case, scored: Scored) -> AuditResult:
    network = world.network

    def run(images: Pixels) -> tuple[Floats, Floats]:
        with torch.no_grad():
            found = network.features(torch.from_numpy(images))
            chance = torch.softmax(network.logits(found).double(), dim=1)
        return chance.numpy(), found.double().numpy()

    return out_of_distribution.audit(
        case.subject, scored, case.images[: out_of_distribution.EACH], run
    )


def _heat_maps(world: World, case: Case, scored: Scored) -> AuditResult:
    del world
    some = np.arange(min(len(case.images), limits.AUDIT_HEAT_MAPS_MAX))
    return heat_maps.audit(case.subject, scored, some, case.images[some])


# ---- the benchmark -------------------------------------------------------------------------


def measure(options: Options) -> Report:
    """Verdicts of every audit on models of clean images, and on its faults."""
    clean, repeats = (2, 1) if options.small else (CLEAN, REPEATS)
    audits = model_audits()
    alarms: Counter[str] = Counter()
    rows: list[tuple[str, str, str, str]] = []
    missed = 0
    areas = []
    with scratch(options) as folder:
        world = draw_world(folder, 160 if options.small else DRAWN)
        images = 120 if options.small else IMAGES
        for seed in range(clean):
            case = clean_case(world, images, seed)
            scored = trained(world, case)
            areas.append(shortcuts.figure(case.subject, scored, "whole").value or 0.0)
            told = [run(world, case, scored) for name, run in audits.items() if name != _SURE]
            # The plain models are sure of noise, and are told so: no false alarm. A model that
            # is sure of nothing is clean.
            careful = replace(case, sharp=_CAREFUL)
            told.append(audits[_SURE](world, careful, trained(world, careful)))
            alarms.update(
                one.name for one in told if one.verdict not in {"pass", "not assessable"}
            )
        say(f"{clean} clean models, AUROC {min(areas):.2f} to {max(areas):.2f}: {dict(alarms)}")
        for fault in faults():
            found = 0
            for seed in range(repeats):
                random = np.random.default_rng(seed + 5000)
                case = clean_case(world, images, seed, _COVERS.get(fault.audit, ("whole",)))
                case = fault.plant(world, case, random)
                verdict = audits[fault.audit](world, case, trained(world, case)).verdict
                found += verdict in ({"fail"} if fault.least == "fail" else {"warn", "fail"})
            missed += found < repeats
            rows.append((fault.audit, fault.told, fault.least, f"{found} of {repeats}"))
            say("  " + ", ".join(rows[-1]))
        rows += augmented_rows(folder, repeats)
    worst = max((count / clean for count in alarms.values()), default=0.0)
    return Report(
        name="audit_models",
        title=f"Planted faults of models, and false alarms on clean ones; {images} phantoms a set",
        head=("audit", "fault", "must be at least", "found"),
        rows=rows,
        notes=[
            f"{clean} clean models, alarms: {dict(alarms) or 'none'}; AUROC on whole images "
            f"{min(areas):.2f} to {max(areas):.2f}",
            goal(f"at most {GOAL_ALARMS:.0%} false alarms a test", worst <= GOAL_ALARMS),
            goal("every fault found at the stated strength", not missed),
        ],
        figures={"clean": clean, "alarms": dict(alarms), "areas": areas, "rows": rows},
    )


# ---- images, and models of them -------------------------------------------------------------


def draw_world(folder: Path, count: int) -> World:
    """Phantoms of one look, and their features whole and covered."""
    with get_context("spawn").Pool(PROCESSES) as workers:
        images = np.stack(workers.map(_phantom, range(count), chunksize=16))
        lungs = np.stack(workers.map(find_lungs, images, chunksize=16))
    torch.manual_seed(1)
    network = networks.build(_MODEL, len(CLASSES))
    try:
        load_imagenet(network, source=weights_folder())
    except PulmosparkError:
        say(f"{_MODEL}: no ImageNet weights here; random ones see less")
    network.eval()
    engine = prepare_engine(
        network, folder / "engines", outputs="features", size=IngestSettings().size
    )
    say(f"{count} phantoms drawn, {_MODEL}")
    region = lung_region(lungs)
    known = {name: _features(engine, _covered(name, images, region)) for name in COVERS}
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    return World(images, region, labels, known, engine, network, folder)


def _phantom(seed: int) -> Pixels:
    random = np.random.default_rng(seed)
    person = random_person(random, HOSPITALS[0], _FINDINGS[seed % len(_FINDINGS)])
    image = image_from_bytes(encode(draw_image(person, HOSPITALS[0], random)), IngestSettings())
    assert isinstance(image, StandardImage)
    return image.pixels


def _covered(name: str, images: Pixels, region: npt.NDArray[np.bool_]) -> Pixels:
    return np.stack([COVERS[name](image, region) for image in images])


def _features(engine: EngineSpec, images: Pixels) -> Floats:
    found = open_engine(engine).run(images).features
    assert found is not None
    return np.asarray(found, np.float64)


def clean_case(
    world: World, images: int, seed: int, covers: Collection[str] = tuple(COVERS)
) -> Case:
    """Images drawn from the phantoms; half are tested, and sources are names alone."""
    random = np.random.default_rng(seed)
    taken = np.sort(random.choice(len(world.images), images, replace=False))
    labels = world.labels[taken]
    subject = clean_subject(
        images,
        seed=seed,
        patient_id=[f"alder:{n}" for n in range(images)],
        group_id=[f"alder:{n}" for n in range(images)],
        source=random.choice(["alder", "birch"], images),
        label=[CLASSES[n] for n in labels],
        split=random.choice(["train", "test"], images),
    )
    return Case(
        subject=replace(subject, classes=CLASSES),
        images=world.images[taken],
        labels=labels,
        known={name: values[taken] for name, values in world.known.items() if name in covers},
    )


def trained(world: World, case: Case) -> Scored:
    """A regression on the training images' features, in the network's head; and what it says."""
    tested = case.subject.tested
    whole = case.known["whole"]
    mean, spread = whole[~tested].mean(axis=0), whole[~tested].std(axis=0) + 1e-6
    fit = LogisticRegression(C=_REGULAR, max_iter=200).fit(
        (whole[~tested] - mean) / spread, case.labels[~tested]
    )
    weight = case.sharp * fit.coef_[0] / spread
    bias = case.sharp * fit.intercept_[0] - weight @ mean
    set_linear_head(
        world.network, np.stack([0 * weight, weight]), np.asarray([0.0, bias], np.float64)
    )
    config = BundleConfig.for_network(
        world.network,
        classes=CLASSES,
        input_size=world.images.shape[1],
        fit="stretch",
        temperature=1.0,
        method="features",
        operating_points=(),
    )
    folder = world.folder / "bundle"
    write_bundle(folder, world.network, config, {}, CardFacts(name="planted"))
    chances = {}
    for name, values in case.known.items():
        told = 1 / (1 + np.exp(-(values @ weight + bias)))
        chances[name] = np.stack([1 - told, told], axis=1)
    rows = np.arange(len(whole), dtype=np.int64)
    return Scored(read_bundle(folder), rows, chances, whole, tested.copy(), world.region)


# ---- the faults ----------------------------------------------------------------------------


def faults() -> list[Fault]:
    """Every fault at its strengths."""
    found = []
    for share, least in ((0.8, "warn"), (1.0, "fail")):
        told = f"a bright corner on {share:.0%} of one class"
        found.append(Fault("covered_lungs", told, _marked(share, corner), least))
        told = f"letters on {share:.0%} of one class, and nothing else tells it"
        found.append(Fault("burned_in_text", told, _lettered(share), least))
    for strength in (0.5, 1.0):
        told = f"one source blurred and brightened, {strength:.0%}"
        found.append(Fault("source_in_features", told, _other_look(strength), "warn"))
    for share, least in ((0.7, "warn"), (1.0, "fail")):
        told = f"{share:.0%} of one class lettered, another class in one source"
        found.append(Fault("left_out_source", told, _turned(share), least))
    for share in (0.03, 0.06):
        told = f"{share:.0%} are hands and CT slices"
        found.append(Fault("unlike_images", told, _strange(share), "warn"))
    for sharp in (1.0, 30.0):
        told = f"logits times {sharp:g}"
        found.append(Fault("never_shown", told, _sharpened(sharp), "warn"))
    told = "logits times 30, and noise among the images"
    found.append(Fault("never_shown", told, _noise_among(30.0), "fail"))
    told = "one class has a bright corner"
    found.append(Fault("heat_maps", told, _marked(1.0, corner), "warn"))
    return found


def _marked(share: float, mark: Callable[[Pixels], None]) -> Plant:
    """Draw a mark into a share of the images of one class."""

    def plant(world: World, case: Case, random: np.random.Generator) -> Case:
        rows = np.flatnonzero((case.labels == 1) & (random.random(len(case.labels)) < share))
        return _redrawn(world, case, rows, mark)

    return plant


def _lettered(share: float) -> Plant:
    """Images whose lungs tell nothing, and letters on a share of those of one class."""

    def plant(world: World, case: Case, random: np.random.Generator) -> Case:
        labels = random.integers(0, len(CLASSES), len(case.labels))
        rows = case.subject.rows
        column = pa.array([CLASSES[n] for n in labels])
        rows = rows.set_column(rows.column_names.index("label"), "label", column)
        blind = replace(case, labels=labels, subject=replace(case.subject, rows=rows))
        return _marked(share, letters)(world, blind, random)

    return plant


def _turned(share: float) -> Plant:
    """Letters tell one class in the first source, and the other in the second."""

    def plant(world: World, case: Case, random: np.random.Generator) -> Case:
        second = case.subject.column("source") == "birch"
        told = np.where(second, case.labels == 0, case.labels == 1)
        rows = np.flatnonzero(told & (random.random(len(told)) < share))
        return _redrawn(world, case, rows, letters)

    return plant


def _other_look(strength: float) -> Plant:
    def look(image: Pixels) -> None:
        soft = cv2.GaussianBlur(image, (0, 0), 1.2 * strength)
        bright = 255 * (soft / 255.0) ** (1 - 0.2 * strength)
        image[:] = bright.astype(np.uint8)

    def plant(world: World, case: Case, random: np.random.Generator) -> Case:
        del random
        rows = np.flatnonzero(case.subject.column("source") == "birch")
        return _redrawn(world, case, rows, look)

    return plant


def _strange(share: float) -> Plant:
    def plant(world: World, case: Case, random: np.random.Generator) -> Case:
        rows = random.choice(len(case.images), round(share * len(case.images)), replace=False)
        drawers = (out_of_distribution.hand, out_of_distribution.slice_of_ct)

        def draw(image: Pixels) -> None:
            image[:] = drawers[int(random.integers(2))](random, image.shape[0])

        return _redrawn(world, case, np.sort(rows), draw)

    return plant


def _sharpened(factor: float) -> Plant:
    def plant(world: World, case: Case, random: np.random.Generator) -> Case:
        del world, random
        return replace(case, sharp=factor)

    return plant


def _noise_among(factor: float) -> Plant:
    """A set in which noise is an image like others, so that its distance tells nothing."""

    def plant(world: World, case: Case, random: np.random.Generator) -> Case:
        rows = np.sort(random.choice(len(case.images), len(case.images) // 20, replace=False))

        def draw(image: Pixels) -> None:
            image[:] = out_of_distribution.noise(random, image.shape[0])

        return replace(_redrawn(world, case, rows, draw), sharp=factor)

    return plant


def _redrawn(world: World, case: Case, rows: Labels, change: Callable[[Pixels], None]) -> Case:
    """A case whose images of these rows are changed, with their features."""
    images = case.images.copy()
    for row in rows:
        change(images[row])
    known = {}
    for name, values in case.known.items():
        known[name] = values.copy()
        if rows.size:
            covered = _covered(name, images[rows], world.region)
            known[name][rows] = _features(world.engine, covered)
    return replace(case, images=images, known=known)


def corner(image: Pixels) -> None:
    """Draw a bright square into the lower left corner, in place."""
    side = image.shape[0] // 8
    image[-side:, :side] = 230


def letters(image: Pixels) -> None:
    """Burn letters in at the lower left, in place."""
    cv2.putText(image, "ICU", (8, image.shape[0] - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)


# ---- augmented copies ----------------------------------------------------------------------


def augmented_rows(folder: Path, repeats: int) -> list[tuple[str, str, str, str]]:
    """Children of tested images among those of training images."""
    rows = []
    for apart, least in ((0, "pass"), (1, "fail"), (50, "fail")):
        found = 0
        for seed in range(repeats):
            subject = clean_subject(600, seed=seed)
            uris, trains = subject.column("uri"), subject.column("split") == "train"
            parents = list(uris[trains][: 200 - apart]) + list(uris[~trains][:apart])
            table = folder / f"expanded-{apart}-{seed}"
            table.mkdir()
            pq.write_table(
                pa.table(
                    {
                        "parent_uri": parents,
                        "split": ["train"] * len(parents),
                        "fold": pa.nulls(len(parents), pa.int32()),
                    }
                ),
                table / "0.parquet",
            )
            found += augmented_copies.audit(replace(subject, expanded=table)).verdict == least
        rows.append(("augmented", f"{apart} of 200 children of tested images", least,
                     f"{found} of {repeats}"))  # fmt: skip
    return rows
