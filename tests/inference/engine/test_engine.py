"""Every engine gives torch's own logits and features."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from pulmospark.core.errors import PlatformError, UsageError
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.open_engine import new_engine, open_engine
from pulmospark.inference.engine.openvino_engine import OpenVinoEngine
from pulmospark.inference.engine.spec import EngineSpec, Kind, Outputs
from pulmospark.inference.engine.torch_engine import TorchEngine
from pulmospark.models.weights.imagenet import load_imagenet
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.network import Network

SIZE = 32


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(4)
    return networks.build("basic_cnn", 3).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


def _pixels(count: int, size: int = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, size, size), dtype=np.uint8)


def _torch(network: Network, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
    with torch.inference_mode():
        features = network.features(torch.from_numpy(pixels))
        return network.head(features).numpy(), features.numpy()


@pytest.fixture(scope="session")
def images(shared_data: Path) -> NDArray[np.uint8]:
    """Real images of three sources."""
    paths = [
        path
        for folder in ("covid-chestxray-dataset/images", "nih-chest-xray14/images")
        for path in sorted((shared_data / folder).iterdir())[:3]
    ] + sorted((shared_data / "chest_xray/test/NORMAL").iterdir())[:3]
    grey = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    return np.stack([cv2.resize(image, (224, 224)) for image in grey if image is not None]).astype(
        np.uint8
    )


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1"])
def test_parity_on_real_images_with_real_weights(
    name: str, images: NDArray[np.uint8], shared_weights: Path, folder: Path
) -> None:
    torch.manual_seed(6)
    network = networks.build(name, 3).eval()
    load_imagenet(network, source=shared_weights)
    logits, features = _torch(network, images)
    assert len(images) == 9
    spec = prepare_engine(network, folder, outputs="both", size=224, kind="openvino")
    outputs = open_engine(spec).run(images)
    assert outputs.logits is not None
    assert outputs.features is not None
    np.testing.assert_allclose(outputs.logits, logits, atol=1e-4)
    np.testing.assert_allclose(outputs.features, features, atol=1e-4)
    assert np.ptp(features, axis=0).max() > 0.1  # the images do differ


@pytest.mark.parametrize("kind", ["openvino", "torch"])
@pytest.mark.parametrize("outputs", ["logits", "features", "both"])
@pytest.mark.parametrize("batch", [1, 4])
def test_any_number_of_images(
    network: Network, folder: Path, kind: Kind, outputs: Outputs, batch: int
) -> None:
    spec = prepare_engine(network, folder, outputs=outputs, size=SIZE, kind=kind, batch=batch)
    engine = open_engine(spec)
    for count in (0, 1, batch, batch + 1, 3 * batch - 1):
        pixels = _pixels(count)
        logits, features = _torch(network, pixels)
        answer = engine.run(pixels)
        for array, wanted, name in zip(answer, (logits, features), answer._fields, strict=True):
            if outputs not in {name, "both"}:
                assert array is None
                continue
            assert array is not None
            assert array.dtype == np.float32
            np.testing.assert_allclose(array, wanted, atol=1e-5)


def test_answers_of_one_run_outlive_the_next(network: Network, folder: Path) -> None:
    engine = open_engine(prepare_engine(network, folder, size=SIZE, kind="openvino"))
    first = engine.run(_pixels(5)).logits
    assert first is not None
    kept = first.copy()
    engine.run(_pixels(6))
    assert np.array_equal(first, kept)


def test_takes_what_is_not_in_one_block(network: Network, folder: Path) -> None:
    engine = open_engine(prepare_engine(network, folder, size=SIZE, kind="openvino"))
    wide = _pixels(6, 2 * SIZE)[::2, ::2, ::2]
    logits = engine.run(wide).logits
    assert logits is not None
    np.testing.assert_allclose(logits, _torch(network, wide.copy())[0], atol=1e-5)


def test_threads_do_not_mix_their_answers(network: Network, folder: Path) -> None:
    engine = open_engine(prepare_engine(network, folder, size=SIZE, kind="openvino"))
    wrong: list[int] = []

    def work(count: int) -> None:
        pixels = _pixels(count)
        wanted = _torch(network, pixels)[0]
        for _ in range(20):
            logits = engine.run(pixels).logits
            if logits is None or not np.allclose(logits, wanted, atol=1e-5):
                wrong.append(count)

    threads = [threading.Thread(target=work, args=(count,)) for count in (3, 4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_calculates_in_float32(network: Network, folder: Path) -> None:
    engine = open_engine(prepare_engine(network, folder, size=SIZE, kind="openvino"))
    assert isinstance(engine, OpenVinoEngine)
    assert engine.precision == "f32"


@pytest.mark.parametrize("kind", ["openvino", "torch"])
@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, SIZE, SIZE + 1), np.uint8),
        np.zeros((SIZE, SIZE), np.uint8),
        np.zeros((1, SIZE, SIZE), np.float32),
    ],
)
def test_refuses_other_pixels(
    network: Network, folder: Path, kind: Kind, pixels: NDArray[np.uint8]
) -> None:
    engine = open_engine(prepare_engine(network, folder, size=SIZE, kind=kind))
    with pytest.raises(UsageError, match=r"expects uint8 \(n, 32, 32\)"):
        engine.run(pixels)


def test_is_prepared_once_for_the_same_network(network: Network, folder: Path) -> None:
    first = prepare_engine(network, folder, size=SIZE, kind="openvino")
    made = (Path(first.folder) / "model.xml").stat().st_mtime_ns
    assert prepare_engine(network, folder, size=SIZE, kind="openvino") == first
    assert (Path(first.folder) / "model.xml").stat().st_mtime_ns == made
    torch.manual_seed(9)
    other = networks.build("basic_cnn", 3).eval()
    scaled = networks.build("basic_cnn", 3, mean=(0.4,)).eval()
    scaled.load_state_dict(network.state_dict())
    ids = {
        first.engine_id,
        prepare_engine(other, folder, size=SIZE, kind="openvino").engine_id,
        prepare_engine(scaled, folder, size=SIZE, kind="openvino").engine_id,
        prepare_engine(network, folder, size=SIZE + 1, kind="openvino").engine_id,
        prepare_engine(network, folder, size=SIZE, kind="torch").engine_id,
    }
    assert len(ids) == 5
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_preparing_leaves_the_network_as_it_was(folder: Path) -> None:
    torch.manual_seed(10)
    network = networks.build("basic_cnn", 2).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    torch.set_num_threads(2)
    prepare_engine(network, folder, size=SIZE, kind="openvino")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert threads == 2
    assert network.training
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


class _Odd(nn.Module):
    """A layer that OpenVINO does not know."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = torch.linalg.qr(images.mean(1)).Q[:, 0, :4]
        return features


def test_falls_back_on_torch_where_openvino_cannot(tmp_path: Path) -> None:
    network = Network("basic_cnn", _Odd(), width=4, classes=2, mean=(0.5,), std=(0.25,)).eval()
    assert prepare_engine(network, tmp_path, size=SIZE).kind == "torch"
    with pytest.raises(UsageError, match="OpenVINO cannot convert it"):
        prepare_engine(network, tmp_path, size=SIZE, kind="openvino")
    assert len(list(tmp_path.iterdir())) == 1


def test_spec_is_plain_json_and_a_key(network: Network, folder: Path) -> None:
    spec = prepare_engine(network, folder, size=SIZE, kind="openvino")
    again = EngineSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json"))))
    assert again == spec
    assert open_engine(again) is open_engine(spec)
    assert open_engine(spec, threads=2) is not open_engine(spec)
    assert pickle.loads(pickle.dumps(spec)) == spec
    torch_spec = prepare_engine(network, folder, size=SIZE, kind="torch")
    assert isinstance(open_engine(torch_spec), TorchEngine)


def test_errors_name_the_remedy(network: Network, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="size 15 is under"):
        prepare_engine(network, folder, size=15)
    spec = prepare_engine(network, tmp_path, size=SIZE, kind="openvino")
    with pytest.raises(UsageError, match="threads is 0"):
        open_engine(spec, threads=0)
    (Path(spec.folder) / "model.xml").write_text("<net")
    with pytest.raises(PlatformError, match=r"delete the folder, and .*; both are then rebuilt"):
        open_engine(spec)
    gone = spec.model_copy(update={"folder": str(tmp_path / "gone")})
    with pytest.raises(PlatformError, match="storage that every worker mounts"):
        open_engine(gone)


def test_a_worker_needs_no_torch(network: Network, folder: Path) -> None:
    spec = prepare_engine(network, folder, size=SIZE, kind="openvino")
    program = """
import sys, numpy as np
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.inference.engine.open_engine import open_engine
engine = open_engine(EngineSpec.model_validate_json(sys.argv[1]))
print(engine.run(np.zeros((3, 32, 32), np.uint8)).logits.shape)
print([name for name in ("torch", "torchvision", "pyspark") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, spec.model_dump_json()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.split("\n")[:2] == ["(3, 3)", "[]"]


def test_a_compiled_network_is_cached_and_rebuilt_if_damaged(
    network: Network, tmp_path: Path
) -> None:
    spec = prepare_engine(network, tmp_path, size=SIZE, kind="openvino")
    pixels = _pixels(3)
    first = new_engine(spec).run(pixels).logits
    (kept,) = Path(spec.folder).glob("*.blob")
    form = Path(spec.folder) / "model.xml"
    text = form.read_text(encoding="utf-8")
    form.write_text("<net", encoding="utf-8")
    again = new_engine(spec).run(pixels).logits
    assert (first is not None) and (again is not None)
    assert np.array_equal(first, again), "it was loaded, for what it is compiled from is broken"
    form.write_text(text, encoding="utf-8")
    kept.write_bytes(b"half of it")
    last = new_engine(spec).run(pixels).logits
    assert last is not None
    assert np.array_equal(first, last)
    assert kept.stat().st_size > 1000
    assert not list(Path(spec.folder).glob(".*"))
