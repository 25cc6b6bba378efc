"""A bundle comes back as it was written, and in no other form."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import pulmospark
from pulmospark.core import limits
from pulmospark.core.errors import BundleError, UsageError
from pulmospark.core.hashing import bytes_id, file_id, value_id
from pulmospark.models.bundle.bundle import (
    BundleConfig,
    BundleOperatingPoint,
    CardFacts,
    read_bundle,
    write_bundle,
)
from pulmospark.models.bundle.card import CardFigure, render_card
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.network import Network
from pulmospark.training.feature_distance import statistics_of

CLASSES = ("COVID-19", "pneumonia", "normal")
FILES = ("README.md", "config.json", "manifest.json", "metrics.json", "model.safetensors")
POINT = BundleOperatingPoint(
    positive_class="COVID-19", threshold=0.31, sensitivity_target=0.95, chosen_on=40, reached=True
)


def _config(network: Network, **other: Any) -> BundleConfig:
    values: dict[str, Any] = {
        "classes": CLASSES,
        "input_size": 64,
        "fit": "pad",
        "temperature": 1.7,
        "operating_points": (POINT,),
        "method": "network",
        "training": {"seed": 3},
    }
    return BundleConfig.for_network(network, **{**values, **other})


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(1)
    return networks.build("basic_cnn", 3)


@pytest.fixture(scope="module")
def written(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "first"
    write_bundle(folder, network, _config(network), {"accuracy": 0.5}, CardFacts(name="trial"))
    return folder


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "bundle"))


def test_comes_back_as_it_was_written(network: Network, tmp_path: Path) -> None:
    config = _config(network)
    model_id = write_bundle(tmp_path / "b", network, config, {"a": 1}, CardFacts(name="trial"))
    found = read_bundle(tmp_path / "b")
    assert (found.config, found.metrics, found.model_id) == (config, {"a": 1}, model_id)
    assert len({(tmp_path / "b" / name).stat().st_mode for name in FILES}) == 1, "others may read"
    files = [file_id(tmp_path / "b" / name) for name in ("config.json", "model.safetensors")]
    assert model_id == value_id(files)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == sorted(FILES)
    again = found.network()
    assert not again.training
    tensors = again.state_dict()
    assert all(torch.equal(tensors[k], v) for k, v in network.state_dict().items())
    pixels = torch.randint(0, 256, (2, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(again(pixels), network.eval()(pixels))


def test_keeps_another_standardisation(tmp_path: Path) -> None:
    network = networks.build("basic_cnn", 3, mean=(0.3,), std=(0.1,))
    write_bundle(tmp_path / "b", network, _config(network), {}, CardFacts(name="trial"))
    again = read_bundle(tmp_path / "b").network()
    assert (again.channel_mean, again.channel_std) == ((0.3,), (0.1,))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_one_byte_changed_anywhere_is_refused(written: Path, data: st.DataObject) -> None:
    path = written / data.draw(st.sampled_from(FILES))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    try:
        path.write_bytes(content[:place] + bytes([other]) + content[place + 1 :])
        with pytest.raises(BundleError) as caught:
            read_bundle(written)
        assert "\n" not in caught.value.message
    finally:
        path.write_bytes(content)
    read_bundle(written)


def test_every_byte_of_the_manifest_counts(bundle: Path) -> None:
    path = bundle / "manifest.json"
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(BundleError):
            read_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_or_a_link_is_refused(bundle: Path, name: str) -> None:
    moved = bundle.parent / name
    (bundle / name).rename(moved)
    with pytest.raises(BundleError, match=name):
        read_bundle(bundle)
    (bundle / name).symlink_to(moved)
    with pytest.raises(BundleError, match="not a regular file"):
        read_bundle(bundle)
    (bundle / name).unlink()
    (bundle / name).mkdir()
    with pytest.raises(BundleError, match="not a regular file"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", ["extra.py", ".hidden", "folder/"])
def test_a_file_more_is_refused(bundle: Path, name: str) -> None:
    if name.endswith("/"):
        (bundle / name).mkdir()
    else:
        (bundle / name).touch()
    with pytest.raises(BundleError, match="does not belong in a bundle"):
        read_bundle(bundle)


def test_a_manifest_that_names_other_places_is_refused(bundle: Path) -> None:
    path = bundle / "manifest.json"
    for name in ("../config.json", "/etc/hostname"):
        value = json.loads(path.read_text())
        value["files"][name] = value["files"].pop("config.json")
        path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
        with pytest.raises(BundleError, match="not as written by pulmospark"):
            read_bundle(bundle)
        value["files"]["config.json"] = value["files"].pop(name)
        path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
    read_bundle(bundle)


def test_sizes_are_bounded(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WEIGHTS_FILE_BYTES_MAX", 1000)
    with pytest.raises(
        BundleError, match=r"model\.safetensors: \d+ bytes, over the limit of 1000"
    ):
        read_bundle(bundle)
    monkeypatch.setattr(limits, "CONFIG_FILE_BYTES_MAX", 100)
    with pytest.raises(BundleError, match=r"manifest\.json: \d+ bytes, over the limit of 100"):
        read_bundle(bundle)


def _seal(bundle: Path) -> None:
    """Make the manifest fit what is there now."""
    path = bundle / "manifest.json"
    value = json.loads(path.read_text())
    for name, told in value["files"].items():
        content = (bundle / name).read_bytes()
        told.update(bytes=len(content), sha256=bytes_id(content))
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


@pytest.mark.parametrize("name", ["manifest.json", "config.json"])
def test_a_newer_format_names_the_remedy(bundle: Path, name: str) -> None:
    value = json.loads((bundle / name).read_text())
    (bundle / name).write_text(json.dumps({**value, "format_version": 4, "news": 1}))
    if name == "config.json":
        _seal(bundle)
    with pytest.raises(BundleError, match=r"format 4, .* up to 3: install a newer pulmospark"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "vgg99"}, "model: 'vgg99': not in the zoo"),
        ({"news": 1}, "news: no such setting"),
        ({"temperature": 0}, "temperature"),
        ({"classes": ["a", "a", "b"], "operating_points": []}, "class names must be unique"),
        ({"operating_points": [{**POINT.model_dump(), "positive_class": "x"}]}, "'x'"),
        ({"format_version": 0}, "format_version"),
    ],
)
def test_a_sealed_bundle_with_a_bad_config_is_refused(
    bundle: Path, change: dict[str, Any], message: str
) -> None:
    path = bundle / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    _seal(bundle)
    with pytest.raises(BundleError, match=message):
        read_bundle(bundle)


def test_a_bundle_of_the_first_format_is_read(bundle: Path) -> None:
    """As an older pulmospark wrote it: without what came with the second."""
    path = bundle / "config.json"
    value = json.loads(path.read_text())
    for name in ("distance", "phantoms", "body_parts"):
        del value[name]
    path.write_text(json.dumps({**value, "format_version": 1}))
    _seal(bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    text = json.dumps({**manifest, "format_version": 1}, indent=2, sort_keys=True) + "\n"
    (bundle / "manifest.json").write_text(text)
    config = read_bundle(bundle).config
    assert (config.distance, config.phantoms, config.body_parts) == (None, False, "chest")


def test_statistics_of_training_images_go_with_the_bundle(
    network: Network, tmp_path: Path
) -> None:
    random = np.random.default_rng(3)
    known = random.normal(size=(60, network.width)).astype(np.float32)
    found = statistics_of(known, np.arange(60))
    assert found is not None
    config = _config(network, distance=found.facts)
    folder = tmp_path / "b"
    write_bundle(folder, network, config, {}, CardFacts(name="trial"), distance=found.content)
    distance = read_bundle(folder).distance()
    assert distance is not None
    assert np.isfinite(distance.of(known)).all()
    assert "caution" in (folder / "README.md").read_text()
    with pytest.raises(UsageError, match="other statistics"):
        write_bundle(folder, network, config, {}, CardFacts(name="trial"))
    # Sealed again, they are still not those that the configuration describes.
    (folder / "distance.safetensors").write_bytes(found.content + b" ")
    _seal(folder)
    with pytest.raises(
        BundleError, match=r"distance\.safetensors: not the file that config\.json"
    ):
        read_bundle(folder)
    (folder / "distance.safetensors").unlink()
    with pytest.raises(BundleError, match=r"distance\.safetensors: is missing"):
        read_bundle(folder)


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "{", "NaN"])
def test_a_sealed_bundle_with_bad_json_is_refused(bundle: Path, content: str) -> None:
    (bundle / "config.json").write_text(content)
    _seal(bundle)
    with pytest.raises(BundleError, match=r"not (a )?JSON"):
        read_bundle(bundle)


@pytest.mark.parametrize("change", ["lack", "more", "shape", "garbage"])
def test_a_sealed_bundle_with_other_tensors_is_refused(bundle: Path, change: str) -> None:
    tensors = dict(read_bundle(bundle).network().state_dict())
    if change == "lack":
        del tensors["head.bias"]
    elif change == "more":
        tensors["more"] = torch.zeros(1)
    elif change == "shape":
        tensors["head.bias"] = torch.zeros(4)
    save_file(tensors, bundle / "model.safetensors")
    if change == "garbage":
        (bundle / "model.safetensors").write_bytes(b"\x80\x02}.")
    _seal(bundle)
    wanted = "header of" if change == "garbage" else "not the tensors of a basic_cnn"
    with pytest.raises(BundleError, match=wanted) as caught:
        read_bundle(bundle).network()
    assert "\n" not in caught.value.message


def _leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Numbers and texts of nested JSON, with their places."""
    items: Iterable[tuple[Any, Any]]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inside in items:
        if isinstance(inside, (dict, list)):
            yield from _leaves(inside, (*place, key))
        else:
            yield (*place, key), inside


def test_a_sealed_bundle_with_a_number_or_name_that_is_none_is_refused(bundle: Path) -> None:
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    config["weights"] = "net.pth"
    checked = 0
    for place, leaf in list(_leaves({k: config[k] for k in config.keys() - {"training", "data"}})):
        if isinstance(leaf, bool):
            bad: tuple[Any, ...] = ("\x1b[2J", 2.5)
        elif isinstance(leaf, str):
            bad = ("", "\x1b[2J", "a\u202eb", "\x9b1m", 1, None)
        else:
            bad = (float("nan"), float("inf"), float("-inf"), -1, 1e308, "x")
        for value in bad:
            if place == ("weights",) and value is None:
                continue  # from scratch
            changed = json.loads(json.dumps(config))
            inside = changed
            for key in place[:-1]:
                inside = inside[key]
            inside[place[-1]] = value
            path.write_text(json.dumps(changed))
            _seal(bundle)
            with pytest.raises(BundleError) as caught:
                read_bundle(bundle)
            assert caught.value.message.isprintable(), (place, value)
            checked += 1
    assert checked > 60


@pytest.mark.parametrize("name", ["\x1b[2Jx", "a b", "", "x" * 501, "a\nb", "\u202ea"])
def test_a_sealed_bundle_with_an_odd_tensor_s_name_is_refused(bundle: Path, name: str) -> None:
    tensors = dict(read_bundle(bundle).network().state_dict())
    save_file({**tensors, name: torch.zeros(1)}, bundle / "model.safetensors")
    _seal(bundle)
    with pytest.raises(BundleError, match="not a valid tensor name") as caught:
        read_bundle(bundle)
    assert caught.value.message.isprintable()


def test_a_sealed_bundle_with_weights_that_are_not_finite_is_refused(bundle: Path) -> None:
    tensors = dict(read_bundle(bundle).network().state_dict())
    tensors["head.bias"] = torch.full_like(tensors["head.bias"], torch.nan)
    save_file(tensors, bundle / "model.safetensors")
    _seal(bundle)
    with pytest.raises(BundleError, match=r"head\.bias is not finite"):
        read_bundle(bundle).network()


@pytest.mark.parametrize("case", ["cfg_nan_thr", "st_ansi_key"])
def test_a_bundle_of_an_attacker_is_refused(shared_cases: Path, case: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_bundle(shared_cases / "a03-bundles" / case)
    assert caught.value.message.isprintable()


def test_tensors_changed_after_reading_are_refused(bundle: Path) -> None:
    found = read_bundle(bundle)
    path = bundle / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(BundleError, match="changed since it was read"):
        found.network()


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such folder"):
        read_bundle(tmp_path / "none")
    with pytest.raises(BundleError, match="not a bundle, or incomplete"):
        read_bundle(tmp_path)


def test_replaces_a_bundle_and_nothing_else(
    network: Network, bundle: Path, tmp_path: Path
) -> None:
    facts = CardFacts(name="second")
    model_id = write_bundle(bundle, network, _config(network), {}, facts)
    assert read_bundle(bundle).model_id == model_id
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").touch()
    with pytest.raises(UsageError, match="not a bundle: choose another folder"):
        write_bundle(home, network, _config(network), {}, facts)
    assert (home / "thesis.tex").exists()


def test_a_failed_write_leaves_the_older_bundle(network: Network, bundle: Path) -> None:
    before = read_bundle(bundle)
    with pytest.raises(ValueError, match="Out of range float"):
        write_bundle(
            bundle, network, _config(network), {"x": float("nan")}, CardFacts(name="second")
        )
    assert read_bundle(bundle) == before
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_config_that_does_not_describe_the_network_is_refused(
    network: Network, tmp_path: Path
) -> None:
    facts = CardFacts(name="trial")
    good = _config(network)
    for change, message in (
        ({"classes": ("COVID-19", "b")}, "2 classes, but the network is basic_cnn with 3"),
        ({"mean": (0.4,)}, "differ from the network's"),
        ({"input_size": 8}, "size 8"),
        ({"model": "mobilenet_v2"}, "mobilenet_v2"),
    ):
        with pytest.raises(UsageError, match=message):
            write_bundle(tmp_path / "b", network, good.model_copy(update=change), {}, facts)
    assert not (tmp_path / "b").exists()
    with pytest.raises(UsageError, match="fit: must be 'stretch', 'pad' or 'crop'"):
        _config(network, fit="squeeze")


def test_a_diverged_network_is_refused(tmp_path: Path) -> None:
    network = networks.build("basic_cnn", 3)
    with torch.no_grad():
        network.head.bias[1] = float("nan")
    with pytest.raises(BundleError, match=r"head\.bias: not finite: the training diverged"):
        write_bundle(tmp_path / "b", network, _config(network), {}, CardFacts(name="trial"))


def test_card_says_what_it_is_and_is_not(network: Network) -> None:
    facts = CardFacts(
        name="trial <script>\nx",
        data=(CardFigure(name="images", value="1,200"),),
        figures=(CardFigure(name="accuracy | test", value="0.91 (0.88 to 0.94)"),),
        limitations=("No image of a child.",),
    )
    card = render_card(_config(network), facts)
    assert pulmospark.NOT_A_MEDICAL_DEVICE in card
    for text in (
        "# trial &lt;script> x: basic CNN",
        "| accuracy \\| test | 0.91 (0.88 to 0.94) |",
        "| images | 1,200 |",
        "COVID-19, pneumonia, normal",
        "64 x 64 grey levels, fit: pad",
        "probability of at least 0.3100; chosen on 40 images",
        "- No image of a child.",
        "random (trained from scratch)",
    ):
        assert text in card


def test_model_id_does_not_depend_on_the_place(written: Path, bundle: Path) -> None:
    assert read_bundle(written).model_id == read_bundle(bundle).model_id
    os.utime(bundle / "config.json", (1, 1))
    assert read_bundle(written).model_id == read_bundle(bundle).model_id


_REPLACER = """
import shutil, sys
from pathlib import Path
from pulmospark.core.files import whole_folder
for number in range(300):
    with whole_folder(Path(sys.argv[1])) as aside:
        shutil.copytree(sys.argv[2 + number % 2], aside, dirs_exist_ok=True)
"""


def test_a_bundle_is_read_while_it_is_replaced(bundle: Path, tmp_path: Path) -> None:
    versions = [tmp_path / "one", tmp_path / "other"]
    for number, version in enumerate(versions):
        shutil.copytree(bundle, version)
        config = json.loads((version / "config.json").read_text())
        config["training"] = {"number": number}
        (version / "config.json").write_text(json.dumps(config))
        _seal(version)
    ids = {read_bundle(version).model_id for version in versions}
    shutil.rmtree(bundle)
    shutil.copytree(versions[0], bundle)
    command = [sys.executable, "-c", _REPLACER, str(bundle), *map(str, versions)]
    seen = []
    with subprocess.Popen(command) as writer:
        while writer.poll() is None:
            seen.append(read_bundle(bundle).model_id)
    assert writer.returncode == 0
    assert set(seen) == ids
    assert len(seen) > 50
