"""Exports a bundle as one file for other programs, checked against the bundle first.

The file maps grey standard images to probabilities: it includes standardisation, network,
temperature and softmax, and describes itself in its metadata.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import ConfigDict

from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Pixels
from pulmospark.core.errors import PlatformError, UsageError
from pulmospark.core.files import disk_errors, whole_folder
from pulmospark.core.locations import check_local
from pulmospark.core.records import Record
from pulmospark.core.store_uri import StoreUri
from pulmospark.inference.engine.openvino_compile import IR_FILE
from pulmospark.inference.engine.softmax import softmax
from pulmospark.inference.export.check_images import CheckImages, images_for
from pulmospark.inference.export.graph import ExportGraph, metadata_of, write_onnx, write_openvino
from pulmospark.inference.export.runtimes import run_onnxruntime, run_openvino
from pulmospark.models.bundle.bundle import Bundle, read_bundle
from pulmospark.models.zoo.network import Network

Format = Literal["onnx", "openvino"]
Runner = Callable[[Path, Pixels], Floats | None]

_ONNX_END = ".onnx"
_BATCH = 8


class ExportResult(Record):
    """The file written by an export, and how it was checked."""

    model_config = ConfigDict(frozen=True)

    path: Path
    """the ONNX file, or the folder with OpenVINO's ``model.xml`` and ``model.bin``"""
    to: Format
    bundle: Path
    model_id: str
    model: str
    """the network's name in the zoo"""
    images: int
    """number of images it was checked on"""
    phantoms: bool
    """whether these are phantoms, because no images were given"""
    unreadable: int
    """number of given images that could not be read"""
    checked_with: tuple[str, ...]
    """programs that ran the file"""
    largest_difference: float
    """of a probability from the bundle's, over all images, classes and programs"""
    bytes: int


def export_bundle(
    bundle: Path | StoreUri, to: Format, target: Path, images: Sequence[str] = ()
) -> ExportResult:
    """Write a bundle in another program's format.

    The file takes ``pixels``, uint8 (n, size, size), standard images as written by ingest, and
    returns ``probabilities``, float32 (n, classes). It is run on images and compared with the
    bundle's network before it appears; an earlier export is replaced only then.

    Args:
        bundle: folder of the bundle, or its address in a store.
        to: the format.
        target: file ending in ``.onnx``, or folder for OpenVINO's two files.
        images: to check it on: files, folders, patterns or sheets, of which up to
            ``limits.EXPORT_IMAGES_MAX`` are used, evenly spaced; none: phantoms are used.

    Raises:
        BundleError: the bundle is missing or damaged.
        UsageError: ``target`` is unsuitable, or the format does not support a layer.
        InputError: no image could be read.
        PlatformError: the file's probabilities differ from the bundle's (nothing is
            written); a library is missing; no space, or no right to write there.
    """
    read = read_bundle(bundle)
    target = check_local(target).expanduser().absolute()
    _check_target(target, to)
    chosen = images_for(read.config, images)
    network = read.network()
    expected = _bundle_probabilities(network, chosen.pixels, read.config.temperature)
    graph = ExportGraph(network, read.config.temperature).eval()
    write = _write_onnx_file if to == "onnx" else _write_openvino_folder
    differences, size = write(graph, read, target, chosen, expected)
    return ExportResult(
        path=target,
        to=to,
        bundle=read.folder,
        model_id=read.model_id,
        model=read.config.model,
        images=len(chosen.names),
        phantoms=chosen.phantoms,
        unreadable=chosen.unreadable,
        checked_with=tuple(differences),
        largest_difference=max(differences.values()),
        bytes=size,
    )


def check_export(
    path: Path, runners: dict[str, Runner], images: CheckImages, expected: Floats
) -> dict[str, float]:
    """Run an exported file and compare its probabilities with the bundle's.

    Args:
        path: the file.
        runners: name of a program -> runs the file; returns ``None`` if not installed.
        images: to run it on.
        expected: (n, classes), the bundle's probabilities.

    Returns:
        Name of the program -> largest absolute difference.

    Raises:
        PlatformError: a difference exceeds ``limits.EXPORT_DIFFERENCE_MAX`` or is NaN.
    """
    differences = {}
    for name, run in runners.items():
        probabilities = run(path, images.pixels)
        if probabilities is None:
            continue
        largest = np.abs(probabilities - expected).max(axis=1)
        worst = int(np.argmax(np.where(np.isnan(largest), np.inf, largest)))
        if not largest[worst] <= limits.EXPORT_DIFFERENCE_MAX:
            raise PlatformError(
                f"nothing was written: run by {name}, a probability of {images.names[worst]} "
                f"differs from the bundle's by {largest[worst]:.2g}, over "
                f"{limits.EXPORT_DIFFERENCE_MAX:g}: "
                "try the other format (--to), or another version of that program"
            )
        differences[name] = float(largest[worst])
    return differences


@torch.inference_mode()
def _bundle_probabilities(network: Network, pixels: Pixels, temperature: float) -> Floats:
    parts = [
        network(torch.tensor(pixels[start : start + _BATCH])).double().numpy()
        for start in range(0, len(pixels), _BATCH)
    ]
    return softmax(np.concatenate(parts), temperature)


def _check_target(target: Path, to: Format) -> None:
    if to == "onnx":
        if target.suffix != _ONNX_END or target.is_dir():
            raise UsageError(f"--out {target}: name a file that ends in {_ONNX_END}")
        return
    if target.suffix in (".xml", ".bin") or target.is_file():
        raise UsageError(f"--out {target}: name a folder for {IR_FILE} and its weights")
    if target.is_dir() and any(target.iterdir()) and not (target / IR_FILE).is_file():
        raise UsageError(f"{target}: is not an export folder: choose another --out")


def _write_onnx_file(
    graph: ExportGraph, bundle: Bundle, target: Path, images: CheckImages, expected: Floats
) -> tuple[dict[str, float], int]:
    runners: dict[str, Runner] = {"OpenVINO": run_openvino, "ONNX Runtime": run_onnxruntime}
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{uuid.uuid4().hex}{_ONNX_END}")
        try:
            write_onnx(graph, bundle.config.input_size, aside, metadata_of(bundle))
            differences = check_export(aside, runners, images, expected)
            os.replace(aside, target)  # noqa: PTH105 - the atomic one, also over a file
        finally:
            aside.unlink(missing_ok=True)
    return differences, target.stat().st_size


def _write_openvino_folder(
    graph: ExportGraph, bundle: Bundle, target: Path, images: CheckImages, expected: Floats
) -> tuple[dict[str, float], int]:
    runners: dict[str, Runner] = {"OpenVINO": run_openvino}
    with whole_folder(target) as aside:
        path = aside / IR_FILE
        write_openvino(graph, bundle.config.input_size, path, metadata_of(bundle))
        differences = check_export(path, runners, images, expected)
    return differences, sum(file.stat().st_size for file in target.iterdir())
