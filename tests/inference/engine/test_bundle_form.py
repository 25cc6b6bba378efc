"""The engine's form in a bundle: scores as the converted network does, and loads no torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from bundles import write_untrained
from pulmospark.core.errors import BundleError, UsageError
from pulmospark.inference.batch.predict import predict
from pulmospark.inference.engine.bundle_engine import bundle_engine
from pulmospark.inference.engine.bundle_form import engine_files, engine_in
from pulmospark.inference.engine.open_engine import new_engine
from pulmospark.models.bundle.bundle import Bundle, read_bundle, write_bundle
from pulmospark.models.bundle.card import CardFacts
from pulmospark.models.bundle.files import ENGINE

_IMAGES = np.random.default_rng(3).integers(0, 256, (5, 64, 64), dtype=np.uint8)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an older version, without the engine's form."""
    return write_untrained(tmp_path_factory.mktemp("plain") / "bundle")


@pytest.fixture(scope="module")
def written(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with it."""
    folder = tmp_path_factory.mktemp("written") / "bundle"
    old = read_bundle(plain)
    network = old.network()
    files = engine_files(network, old.config)
    assert files is not None
    write_bundle(folder, network, old.config, {}, CardFacts(name="trial"), engine=files)
    return folder


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "bundle"))


def _rewritten(folder: Path, change: dict[str, object]) -> Bundle:
    """The bundle with another ``engine.json``."""
    old = read_bundle(folder)
    files = old.engine_files()
    assert files is not None
    form = json.loads(files[ENGINE[0]])
    for name, value in change.items():
        (form if name in form else form["spec"])[name] = value
    files[ENGINE[0]] = json.dumps(form).encode()
    write_bundle(folder, old.network(), old.config, {}, CardFacts(name="trial"), engine=files)
    return read_bundle(folder)


def test_it_is_the_same_model_with_the_same_logits(
    plain: Path, written: Path, tmp_path: Path
) -> None:
    old, new = read_bundle(plain), read_bundle(written)
    assert old.engine_files() is None
    assert engine_in(old, tmp_path) is None
    assert new.model_id == old.model_id
    spec = engine_in(new, tmp_path / "kept")
    assert spec is not None
    converted = bundle_engine(old, tmp_path / "converted")
    first, second = (new_engine(each).run(_IMAGES).logits for each in (spec, converted))
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "change",
    [
        {"openvino": "1.0"},
        {"form_version": 99},
        {"model": "squeezenet1_1"},
        {"size": 65},
        {"outputs": "both"},
        {"batch": 10**6},
        {"kind": "torch"},
        {"precision": "int8"},
        {"news": 1},
    ],
)
def test_a_form_that_does_not_fit_is_made_anew(
    bundle: Path, change: dict[str, object], tmp_path: Path
) -> None:
    assert engine_in(_rewritten(bundle, change), tmp_path / "engines") is None


def test_nothing_in_it_becomes_a_path(bundle: Path, tmp_path: Path) -> None:
    read = _rewritten(bundle, {"engine_id": "../../outside", "folder": "/outside"})
    spec = engine_in(read, tmp_path / "engines")
    assert spec is not None
    assert Path(spec.folder).parent == (tmp_path / "engines").resolve()
    assert not (tmp_path.parent / "outside").exists()


@pytest.mark.parametrize("name", ENGINE)
def test_a_changed_file_is_refused(bundle: Path, name: str) -> None:
    read = read_bundle(bundle)
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name}: changed while it was read"):
        read.engine_files()
    with pytest.raises(BundleError, match=f"{name}: differs from the manifest"):
        read_bundle(bundle)
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: is missing"):
        read_bundle(bundle)


def test_all_its_files_or_none_are_written(plain: Path, tmp_path: Path) -> None:
    old = read_bundle(plain)
    with pytest.raises(UsageError, match="engine files are"):
        write_bundle(
            tmp_path / "b", old.network(), old.config, {}, CardFacts(name="trial"),
            engine={ENGINE[0]: b"{}"},
        )  # fmt: skip


_SCRIPT = """
import sys
from pathlib import Path
from pulmospark.core.arrow_start import spare_pandas
from pulmospark.inference.batch.predict import predict
spare_pandas()
image = predict(Path(sys.argv[1]), [sys.argv[2]], None, None, quiet=True).image
heavy = {"torch", "pandas", "scipy", "pydicom", "pyspark", "matplotlib"}
print(image.prediction, sorted(heavy & sys.modules.keys()))
"""


def test_scoring_an_image_imports_no_large_library(written: Path, tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), _IMAGES[0])
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(written), str(image)],
        capture_output=True,
        text=True,
        check=True,
    )
    here = predict(written, [str(image)], None, None, quiet=True).image
    assert here is not None
    assert done.stdout.strip() == f"{here.prediction} []"
