"""An exported file gives the bundle's probabilities, or there is none."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pulmospark
from bundles import write_untrained
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.errors import InputError, PlatformError, UsageError
from pulmospark.imaging.image import StandardImage, read_image
from pulmospark.inference.engine.openvino_import import import_openvino
from pulmospark.inference.export.check_images import CheckImages, images_for
from pulmospark.inference.export.export import check_export, export_bundle
from pulmospark.inference.export.graph import FixedAverage, metadata_of
from pulmospark.models.bundle.bundle import BundleConfig, CardFacts, read_bundle, write_bundle
from pulmospark.models.weights.imagenet import load_imagenet
from pulmospark.models.zoo import networks

HAS_ONNX = importlib.util.find_spec("onnx") is not None


def _pixels(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, size, size), dtype=np.uint8)


def _wanted(folder: Path, pixels: np.ndarray) -> np.ndarray:
    """The bundle's probabilities in PyTorch, in float64 after the logits."""
    bundle = read_bundle(folder)
    with torch.inference_mode():
        logits = bundle.network()(torch.tensor(pixels)).double()
    probabilities: np.ndarray = torch.softmax(logits / bundle.config.temperature, dim=1).numpy()
    return probabilities


def test_openvinos_file_gives_the_bundles_probabilities(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    result = export_bundle(bundle, "openvino", tmp_path / "ir", [str(images)])
    assert (result.images, result.phantoms, result.unreadable) == (3, False, 1)
    assert result.checked_with == ("OpenVINO",)
    assert 0 <= result.largest_difference <= 1e-4
    assert sorted(path.name for path in (tmp_path / "ir").iterdir()) == ["model.bin", "model.xml"]
    assert [path.name for path in tmp_path.iterdir()] == ["ir"]
    pixels = _pixels(5, 64)
    core = import_openvino().Core()
    compiled = core.compile_model(
        tmp_path / "ir" / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    probabilities = compiled({"pixels": pixels})["probabilities"]
    np.testing.assert_allclose(probabilities, _wanted(bundle, pixels), atol=1e-5)


def test_the_file_says_what_it_is(bundle: Path, tmp_path: Path) -> None:
    result = export_bundle(bundle, "openvino", tmp_path / "ir")
    assert (result.images, result.phantoms) == (limits.EXPORT_PHANTOMS, True)
    model = import_openvino().Core().read_model(tmp_path / "ir" / "model.xml")
    metadata = {
        key: model.get_rt_info(["pulmospark", key]).astype(str)
        for key in ("classes", "statement", "input_size", "fit", "model_id", "operating_points")
    }
    assert json.loads(metadata["classes"]) == ["COVID-19", "normal", "=pneumonia"]
    assert metadata["statement"] == pulmospark.NOT_A_MEDICAL_DEVICE
    assert (metadata["input_size"], metadata["fit"]) == ("64", "stretch")
    assert metadata["model_id"] == read_bundle(bundle).model_id == result.model_id
    assert json.loads(metadata["operating_points"])[0]["threshold"] == 0.3
    assert model.inputs[0].get_partial_shape().to_string() == "[?,64,64]"


def test_the_file_says_how_an_image_is_prepared(bundle: Path) -> None:
    read = read_bundle(bundle)
    changes = {
        "fit": "pad",
        "equalise": True,
        "crop": "lungs",
        "ct_window": "soft",
        "body_parts": "any",
    }
    metadata = metadata_of(replace(read, config=read.config.model_copy(update=changes)))
    assert {name: metadata[name] for name in changes} == changes | {"equalise": "true"}
    assert metadata["input_size"] == "64"
    # Anything else that pixels come to depend on must be in the metadata, too.
    assert set(IngestSettings.model_fields) == {*changes, "size", "salt_path", "guess_view"}


def test_on_real_images_with_real_weights(
    shared_data: Path, shared_weights: Path, tmp_path: Path
) -> None:
    torch.manual_seed(8)
    network = networks.build("squeezenet1_1", 2)
    load_imagenet(network, source=shared_weights)
    config = BundleConfig.for_network(
        network, classes=("COVID", "normal"), input_size=224, fit="pad", method="features"
    )
    write_bundle(tmp_path / "b", network, config, {}, CardFacts(name="real"))
    real = sorted((shared_data / "chest_xray").rglob("*.jpeg"))[:3]
    assert len(real) == 3
    result = export_bundle(tmp_path / "b", "openvino", tmp_path / "ir", [str(p) for p in real])
    assert (result.images, result.phantoms) == (3, False)
    image = read_image(str(real[0]), IngestSettings(size=224, fit="pad"))
    assert isinstance(image, StandardImage)
    pixels = image.pixels[None]
    compiled = (
        import_openvino()
        .Core()
        .compile_model(tmp_path / "ir" / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    )
    np.testing.assert_allclose(
        compiled([pixels])[0],
        _wanted(tmp_path / "b", pixels),
        atol=result.largest_difference + 1e-6,
    )


@pytest.mark.parametrize("name", ["belman_lopez_2022_binary", "mobilenet_v2_modified"])
def test_the_papers_networks(name: str, tmp_path: Path) -> None:
    network = networks.build(name, 2)
    config = BundleConfig.for_network(
        network,
        classes=("a", "b"),
        input_size=networks.entry(name).input_size,
        fit="pad",
        method="network",
        temperature=2.0,
    )
    write_bundle(tmp_path / "b", network, config, {}, CardFacts(name="paper"))
    result = export_bundle(tmp_path / "b", "openvino", tmp_path / "ir")
    assert result.largest_difference <= 1e-5


def test_what_gives_other_probabilities_is_not_written(
    bundle: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_bundle(bundle, "openvino", tmp_path / "ir")
    before = (tmp_path / "ir" / "model.bin").read_bytes()
    monkeypatch.setattr(limits, "EXPORT_DIFFERENCE_MAX", -1.0)
    with pytest.raises(PlatformError, match=r"nothing was written: run by OpenVINO, a prob"):
        export_bundle(bundle, "openvino", tmp_path / "ir", [str(images)])
    assert (tmp_path / "ir" / "model.bin").read_bytes() == before
    with pytest.raises(PlatformError):
        export_bundle(bundle, "openvino", tmp_path / "new", [str(images)])
    assert [path.name for path in tmp_path.iterdir()] == ["ir"]


@pytest.mark.parametrize("moved", [2e-3, float("nan")])
def test_one_probability_that_is_moved_is_found(moved: float) -> None:
    wanted = np.full((3, 2), 0.5)
    images = CheckImages(_pixels(3, 16), ("a", "b", "c"), phantoms=False)
    moved_probabilities = wanted.copy()
    moved_probabilities[1, 0] += moved
    runners = {
        "OpenVINO": lambda *_: wanted,
        "other": lambda *_: moved_probabilities,
        "none": lambda *_: None,
    }
    with pytest.raises(PlatformError, match="run by other, a probability of b differs"):
        check_export(Path("x"), runners, images, wanted)
    del runners["other"]
    assert check_export(Path("x"), runners, images, wanted) == {"OpenVINO": 0.0}


def test_onnx_file_or_an_error_naming_the_missing_package(bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "detector.onnx"
    if not HAS_ONNX:
        with pytest.raises(PlatformError, match=r"pip install .*'\.\[export\]'"):
            export_bundle(bundle, "onnx", target)
        assert list(target.parent.iterdir()) == []
        return
    result = export_bundle(bundle, "onnx", target)
    assert result.checked_with[0] == "OpenVINO"
    assert [path.name for path in target.parent.iterdir()] == ["detector.onnx"]
    pixels = _pixels(3, 64)
    compiled = (
        import_openvino().Core().compile_model(target, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    )
    np.testing.assert_allclose(compiled([pixels])[0], _wanted(bundle, pixels), atol=1e-5)
    props = importlib.import_module("onnx").load(str(target)).metadata_props
    metadata = {prop.key: prop.value for prop in props}
    assert json.loads(metadata["pulmospark.classes"])[0] == "COVID-19"
    assert metadata["pulmospark.statement"] == pulmospark.NOT_A_MEDICAL_DEVICE


def test_without_onnx_its_extra_is_named(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(PlatformError, match="onnx is not installed: run pip install"):
        export_bundle(bundle, "onnx", tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("to", "name", "message"),
    [
        ("onnx", "detector", "ends in .onnx"),
        ("onnx", "folder.onnx", "ends in .onnx"),
        ("openvino", "model.xml", "name a folder"),
        ("openvino", "file", "name a folder"),
        ("openvino", "other", "is not an export folder"),
    ],
)
def test_targets_that_cannot_be(
    to: str, name: str, message: str, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=message):
        export_bundle(bundle, to, tmp_path / name)  # type: ignore[arg-type]
    assert (tmp_path / "other" / "notes.txt").read_text() == "mine"


def test_images_are_taken_evenly_and_read_as_ingest_reads_them(
    bundle: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_bundle(bundle).config
    for number in range(9):
        shutil.copy(images / "a.png", tmp_path / f"{number}.png")
    monkeypatch.setattr(limits, "EXPORT_IMAGES_MAX", 3)
    chosen = images_for(config, [str(tmp_path)])
    assert [Path(name).stem for name in chosen.names] == ["0", "4", "8"]
    assert chosen.pixels.shape == (3, 64, 64)
    image = read_image(str(tmp_path / "0.png"), IngestSettings(size=64, fit=config.fit))
    assert isinstance(image, StandardImage)
    assert chosen.pixels[0].tobytes() == image.pixels.tobytes()
    with pytest.raises(InputError, match="no image could be read"):
        images_for(config, [str(images / "d.png")])


def test_phantoms_are_the_same_each_time_and_differ_from_each_other(bundle: Path) -> None:
    config = read_bundle(bundle).config
    first, again = images_for(config, ()), images_for(config, ())
    assert np.array_equal(first.pixels, again.pixels)
    assert len({image.tobytes() for image in first.pixels}) == limits.EXPORT_PHANTOMS


@settings(max_examples=30)
@given(
    before=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    after=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_fixed_average_is_adaptive_pooling(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    maps = torch.rand(2, 3, *before)
    wanted = nn.functional.adaptive_avg_pool2d(maps, after)
    torch.testing.assert_close(FixedAverage(before, after)(maps), wanted)


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    folder = write_untrained(tmp_path / "b")
    (folder / "config.json").write_text("{}")
    with pytest.raises(InputError):
        export_bundle(folder, "openvino", tmp_path / "ir")
    assert not (tmp_path / "ir").exists()
