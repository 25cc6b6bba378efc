"""What a model must not score: refused, or scored with a caution, alike on every road."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from bundles import write_untrained
from imaging import dicoms
from pulmospark.config.inference import ScoringSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.stream import StreamSettings
from pulmospark.core import schemas
from pulmospark.core.errors import InputError
from pulmospark.core.schemas import Caution
from pulmospark.imaging.image import images_from_bytes
from pulmospark.inference.batch.cautions import Checks
from pulmospark.inference.batch.predict import plan_predict, predict
from pulmospark.inference.batch.scorer import checks_of, scorer_of
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.bundle_engine import bundle_engine
from pulmospark.inference.precision.check import Answers
from pulmospark.inference.stream.ledger import Arrival
from pulmospark.inference.stream.tasks import StreamWork
from pulmospark.ml.fitting import linear_head
from pulmospark.ml.image_reader import ImageReader
from pulmospark.ml.worker import scorer as ml_scorer
from pulmospark.models.bundle.bundle import Bundle, read_bundle
from pulmospark.models.bundle.feature_distance import FeatureDistance
from pulmospark.models.weights.imagenet import load_imagenet
from pulmospark.models.zoo import networks
from pulmospark.phantoms.draw import draw_image, encode, random_person
from pulmospark.phantoms.hospitals import HOSPITALS
from pulmospark.phantoms.opacities import Finding
from pulmospark.training.feature_distance import statistics_of

Pixels = npt.NDArray[np.uint8]


def blobs(count: int, seed: int) -> Pixels:
    """Smooth pictures of 64 x 64: two dark fields left and right of the middle, as lungs lie."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:64, :64]
    at, wide = random.normal((28, 15), 2, (count, 2)), random.uniform(7, 11, count)
    made = np.full((count, 64, 64), 220.0)
    for number, ((row, aside), width) in enumerate(zip(at, wide, strict=True)):
        for side in (-1, 1):
            far = ((rows - row) / (1.8 * width)) ** 2 + (
                (columns - 32 - side * aside) / width
            ) ** 2
            made[number] -= 190 * np.exp(-(far**2))
    return np.asarray(np.clip(made, 0, 255), np.uint8)


def noise(seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (64, 64), dtype=np.uint8)


def png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def phantom() -> bytes:
    random = np.random.default_rng(1)
    person = random_person(random, HOSPITALS[0], next(iter(Finding)))
    return encode(draw_image(person, HOSPITALS[0], random))


@pytest.fixture(scope="module")
def aware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that knows what its training images look like."""
    folder = tmp_path_factory.mktemp("aware") / "b"
    return write_untrained(folder, trained_on=blobs(300, 1), views=["PA", "unknown"])


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of many kinds, named after the cautions that they should have."""
    folder = tmp_path_factory.mktemp("odd") / "images"
    folder.mkdir()
    spot = np.asarray(blobs(1, 9)[0], np.uint16) * 16
    window: dict[str, Any] = {"WindowCenter": "2048", "WindowWidth": "4096"}  # greys as they were

    def dicom(**more: Any) -> bytes:
        return dicoms.file_of(dicoms.dataset(spot, **window, **more), spot)

    for name, data in {
        "none.png": png(blobs(1, 8)[0]),
        "unlike_training_images.png": png(noise()),
        "none.dcm": dicom(ViewPosition="PA", BodyPartExamined="CHEST"),
        "other_view.dcm": dicom(ViewPosition="LL", BodyPartExamined="CHEST"),
        "body_part_unrecognised.dcm": dicom(ViewPosition="PA", BodyPartExamined="ZQCANARY7"),
        "other_body_part.dcm": dicom(ViewPosition="PA", BodyPartExamined="KNEE"),
    }.items():
        (folder / name).write_bytes(data)
    return folder


def wanted(name: str) -> list[str]:
    stem = Path(name).stem
    return [] if stem == "none" else [stem]


def test_predict_cautions_and_refuses(aware: Path, odd: Path, tmp_path: Path) -> None:
    result = predict(aware, [str(odd)], tmp_path / "out", None, quiet=True)
    assert result.rejects_by_reason == {"other_body_part": 1}
    rows = pq.read_table(tmp_path / "out" / "predictions").to_pylist()
    assert len(rows) == 5
    fence = result.fence
    assert fence is not None
    for row in rows:
        assert row["cautions"] == wanted(row["uri"]), row["uri"]
        assert (row["distance"] > fence) == ("unlike" in row["uri"])
    assert result.cautions == {
        "body_part_unrecognised": 1,
        "other_view": 1,
        "unlike_training_images": 1,
    }
    text = (tmp_path / "out" / "predictions.csv").read_text(encoding="utf-8")
    assert f"unlike the training images (distance {max(r['distance'] for r in rows):.3g}" in text
    assert "ZQCANARY7" not in text
    settings = ScoringSettings(any_body_part=True)
    result = predict(aware, [str(odd)], tmp_path / "any", None, settings=settings, quiet=True)
    rows = pq.read_table(tmp_path / "any" / "predictions").to_pylist()
    assert [row["cautions"] for row in rows] == [wanted(row["uri"]) for row in rows]
    assert (result.images, result.rejects) == (6, 0)


def test_a_distance_is_that_of_the_network_s_features(aware: Path, odd: Path) -> None:
    bundle = read_bundle(aware)
    images = images_from_bytes((odd / "none.png").read_bytes(), bundle.config.ingest)
    assert isinstance(images, list)
    with torch.no_grad():
        features = bundle.network().features(torch.from_numpy(images[0].pixels[None])).numpy()
    image = predict(aware, [str(odd / "none.png")], None, None, quiet=True).image
    distance = bundle.distance()
    assert image is not None
    assert distance is not None
    assert image.distance == pytest.approx(distance.of(features)[0], rel=1e-3)
    assert image.cautions == ()


def test_a_knee_alone_is_refused_in_one_line(aware: Path, odd: Path) -> None:
    with pytest.raises(InputError, match="other_body_part: dicom: the header names another part"):
        predict(aware, [str(odd / "other_body_part.dcm")], None, None, quiet=True)


def test_without_statistics_the_distance_is_not_assessable(bundle: Path, odd: Path) -> None:
    result = predict(bundle, [str(odd / "unlike_training_images.png")], None, None, quiet=True)
    assert (result.fence, result.image and result.image.distance) == (None, None)
    assert result.distances.startswith("not assessable: ")


def streamed(bundle: Bundle, folder: Path, work: Path, settings: StreamSettings) -> Any:
    """What a stream's task makes of the files of a folder."""
    engine = bundle_engine(bundle, work)
    made = StreamWork(
        "inbox",
        scorer_of(bundle, engine, checks_of(bundle, work, engine.width)),
        settings.reading(bundle.config.ingest),
        phantoms_only=bundle.config.phantoms and not settings.allow_phantom_model,
    )
    facts = [(str(path), path.stat()) for path in sorted(folder.iterdir())]
    arrivals = [Arrival(uri, stat.st_size, stat.st_mtime_ns, 0) for uri, stat in facts]
    return dict(StreamWork.from_json(made.to_json()).score(arrivals))


def test_a_stream_says_the_same(aware: Path, odd: Path, tmp_path: Path) -> None:
    scored = streamed(read_bundle(aware), odd, tmp_path, StreamSettings())
    rows = scored["predictions"].to_pylist()
    assert {Path(row["uri"]).name: row["cautions"] for row in rows} == {
        path.name: wanted(path.name) for path in odd.iterdir() if "other_body" not in path.name
    }
    assert scored["rejects"]["reason"].to_pylist() == ["other_body_part"]


def by_spark_ml(
    bundle: Bundle, folder: Path, work: Path, *, phantoms_only: bool = False
) -> dict[str, Any]:
    """Cautions from Spark ML's worker, by file name; ``None`` for a file that is not an image."""
    settings = bundle.config.ingest
    engine = prepare_engine(bundle.network(), work, outputs="features", size=settings.size)
    reader = ImageReader("bytes", settings, "keep", phantoms_only)
    head = linear_head(bundle.network(), bundle.config.temperature)
    paths = sorted(folder.iterdir())
    cells = (pd.Series(map(str, paths)), pd.Series([path.read_bytes() for path in paths]))
    score = ml_scorer(reader, engine, head, checks_of(bundle, work, engine.width))
    rows = next(score(iter([cells])))
    return {path.name: cautions for path, cautions in zip(paths, rows["cautions"], strict=True)}


def test_spark_ml_says_the_same(aware: Path, odd: Path, tmp_path: Path) -> None:
    cautions = by_spark_ml(read_bundle(aware), odd, tmp_path)
    assert cautions.pop("other_body_part.dcm") is None
    assert cautions == {name: wanted(name) for name in cautions}


@pytest.fixture(scope="module")
def of_phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained(tmp_path_factory.mktemp("phantom") / "b", phantoms=True)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom, and a picture that is none."""
    folder = tmp_path_factory.mktemp("mixed") / "images"
    folder.mkdir()
    (folder / "phantom.png").write_bytes(phantom())
    (folder / "real.png").write_bytes(png(blobs(1, 3)[0]))
    return folder


def test_a_model_of_phantoms_refuses_other_images(
    of_phantoms: Path, mixed: Path, tmp_path: Path
) -> None:
    result = predict(of_phantoms, [str(mixed)], tmp_path / "out", None, quiet=True)
    assert result.rejects_by_reason == {"not_a_phantom": 1}
    (row,) = pq.read_table(tmp_path / "out" / "predictions").to_pylist()
    assert row["cautions"] == ["phantom_model"]
    with pytest.raises(InputError, match=r"not_a_phantom: .*--allow-phantom-model"):
        predict(of_phantoms, [str(mixed / "real.png")], None, None, quiet=True)
    settings = ScoringSettings(allow_phantom_model=True)
    image = predict(
        of_phantoms, [str(mixed / "real.png")], None, None, settings=settings, quiet=True
    ).image
    assert image is not None
    assert [text.split(",")[0] for text in image.cautions] == [
        "the model was trained on phantoms",
        "not a phantom",
    ]
    scored = streamed(read_bundle(of_phantoms), mixed, tmp_path / "w", StreamSettings())
    assert scored["rejects"]["reason"].to_pylist() == ["not_a_phantom"]
    cautions = by_spark_ml(read_bundle(of_phantoms), mixed, tmp_path / "w", phantoms_only=True)
    assert cautions == {
        "phantom.png": ["phantom_model"],
        "real.png": None,
    }


def test_a_re_encoded_phantom_does_not_count_as_one(of_phantoms: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.png"
    Image.open(io.BytesIO(phantom())).convert("L").save(again)
    with pytest.raises(InputError, match="not_a_phantom"):
        predict(of_phantoms, [str(again)], None, None, quiet=True)


@pytest.mark.parametrize("marks", [[True, False], [True, None], None])
def test_a_model_of_phantoms_refuses_tables_of_other_images(
    of_phantoms: Path, tmp_path: Path, marks: list[bool | None] | None
) -> None:
    columns = ["image_id", "uri", "source", "patient_id", "scan_id", "finding", "view", "pixels"]
    names = columns if marks is None else [*columns, "phantom"]
    schema = pa.schema([schemas.IMAGES.field(name) for name in names])
    rows = [
        {"image_id": str(n), "uri": f"/{n}", "source": "s", "view": "PA", "pixels": bytes(64**2)}
        | ({} if marks is None else {"phantom": marks[n]})
        for n in range(2)
    ]
    (tmp_path / "t").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "t" / "a.parquet")
    with pytest.raises(InputError, match=r"not phantoms, .*--allow-phantom-model"):
        plan_predict(of_phantoms, [str(tmp_path / "t")], tmp_path / "out")
    allowed = ScoringSettings(allow_phantom_model=True)
    predict(of_phantoms, [str(tmp_path / "t")], tmp_path / "o", None, settings=allowed, quiet=True)
    told = pq.read_table(tmp_path / "o" / "predictions")["cautions"].to_pylist()
    known = [bool(mark) for mark in marks or [None, None]]
    assert [Caution.NOT_A_PHANTOM not in cautions for cautions in told] == known


@pytest.mark.parametrize(
    ("trained", "facts", "caution"),
    [
        (("PA", "AP", "frontal", "unknown"), {"view": "lateral"}, "other_view"),
        (("PA", "AP"), {"view": "axial", "view_measured": True}, "other_view_guessed"),
        (("PA", "AP"), {"view": "unknown", "view_guess": "lateral"}, "other_view_guessed"),
        (("PA", "AP"), {"view": "unknown"}, None),
        (("PA",), {"view": "AP"}, "other_view"),
        (("PA",), {"view": "frontal"}, None),
        (("frontal",), {"view": "PA"}, None),
        (("axial",), {"view": "axial", "view_measured": True}, None),
        (("axial",), {"view": "PA"}, "other_view"),
        ((), {"view": "lateral"}, None),
    ],
)
def test_views_that_were_not_trained_on(
    trained: tuple[str, ...], facts: dict[str, Any], caution: str | None
) -> None:
    assert Checks(trained).cautions(facts, None) == ([] if caution is None else [caution])


def test_a_lower_precision_may_not_change_who_is_cautioned() -> None:
    logits = np.zeros((4, 2))
    before, after = np.array([0.5, 0.9, 1.1, 3.0]), np.array([0.5, 1.05, 0.95, 3.1])
    answers = Answers(1.0, fence=1.0)
    assert answers.compare(logits, logits, (before, after)) == (0.0, 2)
    assert answers.compare(logits, logits, (before, before)) == (0.0, 0)


def test_bf16_keeps_the_distances(aware: Path, tmp_path: Path) -> None:
    """Of features rounded as bf16 has them: 8 bits of mantissa."""
    bundle = read_bundle(aware)
    distance = bundle.distance()
    assert distance is not None
    pixels = np.concatenate([blobs(60, 5), noise(1)[None]])
    with torch.no_grad():
        features = bundle.network().features(torch.from_numpy(pixels))
        lower = features.bfloat16().float().numpy()
    exact = distance.of(features.numpy())
    assert np.abs(distance.of(lower) / exact - 1).max() < 0.25
    assert bundle.config.distance is not None
    fence = bundle.config.distance.fence
    assert ((distance.of(lower) > fence) == (exact > fence)).mean() > 0.98


def test_real_chests_pass_and_a_knee_teeth_and_slices_do_not(
    shared_data: Path, shared_weights: Path
) -> None:
    """ImageNet's features of 80 real frontals; 20 others, of the same sets, are held out."""
    network = networks.build("squeezenet1_1", 2).eval()
    load_imagenet(network, source=shared_weights)
    settings = IngestSettings(body_parts="any")

    def features(paths: list[Path]) -> npt.NDArray[np.float32]:
        made = [images_from_bytes(path.read_bytes(), settings) for path in paths]
        pixels = np.stack([images[0].pixels for images in made if isinstance(images, list)])
        with torch.no_grad():
            features: npt.NDArray[np.float32] = network.features(torch.from_numpy(pixels)).numpy()
        return features

    chests = sorted((shared_data / "COVID-19_Radiography_Dataset").glob("*/images/*.png"))[::10]
    held, trained = chests[::5], [path for n, path in enumerate(chests) if n % 5]
    statistics = statistics_of(features(trained), np.arange(80))
    assert statistics is not None
    distance = FeatureDistance.from_bytes(statistics.content, "x")
    fence = statistics.facts.fence
    assert (distance.of(features(held)) > fence).sum() <= 1
    other = [*(shared_data / "dicom-cxr").rglob("*teeth*"), *shared_data.rglob("RG3_J2KR*")]
    other += sorted((shared_data / "ct-dicom").rglob("*.dcm"))[::16]
    assert len(other) == 5
    assert (distance.of(features(other)) > fence).all()
