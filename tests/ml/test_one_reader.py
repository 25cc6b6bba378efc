"""Files, predictions, streams, exports and Spark ML read an image alike, as its bundle says."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pydicom import dcmread
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812

from bundles import write_untrained
from imaging import dicoms
from pulmospark.chunks import chunks_of
from pulmospark.core import schemas
from pulmospark.core.provenance import now_utc
from pulmospark.data.ingest.ingest import IngestWork
from pulmospark.imaging.image import StandardImage, read_image
from pulmospark.inference.batch.predict import predict
from pulmospark.inference.batch.tasks import FilesWork, Scorer
from pulmospark.inference.engine.bundle_engine import bundle_engine
from pulmospark.inference.export.check_images import images_for
from pulmospark.inference.precision.sample import ListedSample, standard_pixels
from pulmospark.inference.stream.ledger import Arrival
from pulmospark.inference.stream.scorer import FolderSample
from pulmospark.inference.stream.tasks import StreamWork, from_bytes, to_bytes
from pulmospark.layouts.base import row_of
from pulmospark.layouts.walk import FoundFile
from pulmospark.ml import CnnClassifierModel
from pulmospark.ml.image_reader import ImageReader
from pulmospark.ml.worker import standardiser
from pulmospark.models.bundle.bundle import Bundle, read_bundle

Pixels = npt.NDArray[np.uint8]
SIDE = 64


def slice_bytes() -> bytes:
    """A CT slice in Hounsfield units: a body of muscle with fat, and two lungs, off the middle."""
    rows, columns = np.mgrid[:96, :128]
    units = np.full((96, 128), -1000.0)
    units[(rows - 50) ** 2 / 1600 + (columns - 60) ** 2 / 2500 < 1] = 45
    units += np.where(units > 0, 60 * np.sin(columns / 5) * np.cos(rows / 7), 0)
    for centre in (38, 82):
        units[(rows - 48) ** 2 / 500 + (columns - centre) ** 2 / 200 < 1] = -820
    stored = np.asarray(np.rint(units) + 1024, np.uint16)
    told = dicoms.dataset(
        stored,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        Modality="CT",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        BodyPartExamined="CHEST",
        RescaleSlope="1",
        RescaleIntercept="-1024",
        WindowCenter="-600",
        WindowWidth="1500",
    )
    return dicoms.file_of(told, stored)


def image_bytes() -> bytes:
    """A grey PNG that is no square: its two halves are unlike, and its greys uneven."""
    rows, columns = np.mgrid[:90, :150]
    grey = 40 + 90 * (np.sin(rows / 11) * np.cos(columns / 17) + 1) + columns / 6
    file = io.BytesIO()
    Image.fromarray(np.asarray(grey / 2, np.uint8)).save(file, "PNG")
    return file.getvalue()


def soft_window(path: Path) -> Pixels:
    """A CT slice as pydicom reads it, in a window of centre 40 and width 400."""
    header = dcmread(path)
    units = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
    return np.asarray(np.rint(np.clip((units - 40) / 400 + 0.5, 0, 1) * 255), np.uint8)


def padded(grey: Pixels) -> Pixels:
    """In the middle of a black square, made smaller by area, its histogram equalised."""
    height, width = grey.shape
    inner = (round(height * SIDE / max(grey.shape)), round(width * SIDE / max(grey.shape)))
    square = np.zeros((SIDE, SIDE), np.uint8)
    top, left = ((SIDE - side) // 2 for side in inner)
    small = cv2.resize(grey, inner[::-1], interpolation=cv2.INTER_AREA)
    square[top : top + inner[0], left : left + inner[1]] = small
    return np.asarray(cv2.equalizeHist(square), np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle none of whose images are made as the defaults would."""
    folder = tmp_path_factory.mktemp("bundle") / "b"
    write_untrained(folder, fit="pad", equalise=True, ct_window="soft")
    return read_bundle(folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A CT slice and an image, alone in a folder."""
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / "a.dcm", folder / "b.png"]
    for path, data in zip(paths, (slice_bytes(), image_bytes()), strict=True):
        path.write_bytes(data)
    return paths


@pytest.fixture(scope="module")
def wanted(files: list[Path]) -> Pixels:
    """The standard images, by other means."""
    return np.stack([padded(soft_window(files[0])), padded(np.asarray(Image.open(files[1])))])


def manifest_of(paths: list[Path]) -> pa.Table:
    rows = [
        row_of(FoundFile(str(path), (), path.stat().st_size, path.stat().st_mtime_ns, None), "s")
        for path in paths
    ]
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=schemas.MANIFEST)


def by_read_image(bundle: Bundle, paths: list[Path]) -> Pixels:
    images = [read_image(str(path), bundle.config.ingest) for path in paths]
    return np.stack([image.pixels for image in images if isinstance(image, StandardImage)])


def by_ingest(bundle: Bundle, paths: list[Path]) -> Pixels:
    rows = IngestWork(bundle.config.ingest, None)(manifest_of(paths))["images"]
    flat = b"".join(rows["pixels"].to_pylist())
    return np.frombuffer(flat, np.uint8).reshape(-1, SIDE, SIDE)


def by_sample(bundle: Bundle, paths: list[Path]) -> Pixels:
    listed = paths[0].parent / ".manifest.parquet"
    pq.write_table(manifest_of(paths), listed)
    sample = ListedSample(chunks_of([listed]), [], bundle.config.ingest)
    return standard_pixels(sample.rows(), sample.settings)


def by_stream_sample(bundle: Bundle, paths: list[Path]) -> Pixels:
    sample = FolderSample(paths[0].parent, bundle.config.ingest)
    return standard_pixels(sample.rows(), sample.settings)


def by_export(bundle: Bundle, paths: list[Path]) -> Pixels:
    return images_for(bundle.config, [str(path) for path in paths]).pixels


def by_spark_ml(bundle: Bundle, paths: list[Path]) -> Pixels:
    reader = ImageReader("bytes", bundle.config.ingest, "error")
    cells = (pd.Series([str(p) for p in paths]), pd.Series([p.read_bytes() for p in paths]))
    flat = b"".join(next(standardiser(reader)(iter([cells]))))
    return np.frombuffer(flat, np.uint8).reshape(-1, SIDE, SIDE)


WAYS: list[Callable[[Bundle, list[Path]], Pixels]] = [
    *(by_read_image, by_ingest, by_sample, by_stream_sample, by_export, by_spark_ml)
]


@pytest.mark.parametrize("way", WAYS)
def test_every_reader_makes_the_image_that_the_bundle_takes(
    bundle: Bundle, files: list[Path], wanted: Pixels, way: Any
) -> None:
    assert np.array_equal(way(bundle, files), wanted)


def test_an_image_struct_is_prepared_as_a_file_is(
    bundle: Bundle, files: list[Path], wanted: Pixels
) -> None:
    grey = np.asarray(Image.open(files[1]))
    cell = ("b.png", grey.tobytes(), *grey.shape, 1, 0)
    found, _, _ = ImageReader("image", bundle.config.ingest, "error").read([cell])
    assert np.array_equal(found[0], wanted[1])


def test_crops_to_the_lungs_are_the_same_everywhere(tmp_path: Path, files: list[Path]) -> None:
    plain = read_bundle(write_untrained(tmp_path / "plain", ct_window="soft"))
    cropping = read_bundle(write_untrained(tmp_path / "crop", ct_window="soft", crop="lungs"))
    whole, (first, *others) = by_ingest(plain, files), [way(cropping, files) for way in WAYS]
    assert not np.array_equal(first, whole)
    assert all(np.array_equal(first, other) for other in others)


def test_predict_stream_and_spark_ml_score_that_image(
    bundle: Bundle, files: list[Path], wanted: Pixels, tmp_path: Path, spark: SparkSession
) -> None:
    config = bundle.config
    with torch.no_grad():
        logits = bundle.network()(torch.from_numpy(wanted)).double().numpy()
    uris = [str(path) for path in files]
    predict(bundle.folder, uris, tmp_path / "out", None, quiet=True)
    rows = pq.read_table(tmp_path / "out" / "predictions").sort_by("uri")
    assert np.allclose(rows["logits"].to_pylist(), logits, atol=1e-4)

    engine = bundle_engine(bundle, tmp_path / "engines")
    scorer = Scorer(engine, config.classes, config.temperature, bundle.model_id, now_utc())
    work = StreamWork.from_json(StreamWork("inbox", scorer, config.ingest).to_json())
    arrivals = [
        Arrival(uri, Path(uri).stat().st_size, Path(uri).stat().st_mtime_ns, 0) for uri in uris
    ]
    streamed = from_bytes(to_bytes(dict(work.score(arrivals))["predictions"])).sort_by("uri")
    assert np.allclose(streamed["logits"].to_pylist(), logits, atol=1e-4)
    assert isinstance(work, StreamWork)
    assert FilesWork(scorer, config.ingest).settings == work.settings

    model = CnnClassifierModel.fromBundle(bundle.folder).setInputCol("content")
    read = spark.read.format("binaryFile").load(uris)
    scored = model.transform(read.withColumn("name", F.input_file_name())).orderBy("path")
    raw = [row["rawPrediction"].toArray() * config.temperature for row in scored.collect()]
    assert np.allclose(raw, logits, atol=1e-4)
