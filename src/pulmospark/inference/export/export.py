"""A bundle as one file for other programs, checked against the bundle before it is published.

Grey standard images go in and probabilities come out: standardisation, network, temperature
and softmax are all in the file, and so is what it is, in its metadata.
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
from pulmospark.core.errors import EnvironmentProblem, UsageError
from pulmospark.core.files import disk_errors, whole_folder
from pulmospark.core.locations import check_local
from pulmospark.core.records import Record
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
    """What an export wrote, and how it was checked."""

    model_config = ConfigDict(frozen=True)

    path: Path
    """the ONNX file, or the folder with OpenVINO's ``model.xml`` and ``model.bin``"""
    to: Format
    bundle: Path
    model_id: str
    model: str
    """the network's name in the zoo"""
    images: int
    """that it was checked on"""
    phantoms: bool
    """whether these were drawn, for want of images"""
    unreadable: int
    """images given that could not be read"""
    checked_with: tuple[str, ...]
    """what ran the file"""
    largest_difference: float
    """of a probability from the bundle's own, over all images, classes and programs"""
    bytes: int


def export_bundle(
    bundle: Path, to: Format, target: Path, images: Sequence[str] = ()
) -> ExportResult:
    """Write a bundle in the form of another program.

    The file takes ``pixels``, uint8 (n, size, size), standard images as ingest makes them, and
    gives ``probabilities``, float32 (n, classes). It is run on images and compared with the
    bundle's own network before it appears; an older export there is replaced only then.

    Args:
        bundle: folder of the bundle.
        to: the form.
        target: file ending in ``.onnx``, or folder for OpenVINO's two files.
        images: to check it on: files, folders, patterns or sheets, of which
            ``limits.EXPORT_IMAGES_MAX`` are taken, evenly spaced; none: phantoms are drawn.

    Raises:
        BundleError: the bundle is missing or damaged.
        UsageError: ``target`` cannot be, or the form does not know a layer of the network.
        InputError: no image could be read.
        EnvironmentProblem: the file's probabilities are not the bundle's, and nothing was
            written; a library is missing; no space, or no right to write there.
    """
    read = read_bundle(check_local(bundle).expanduser().absolute())
    target = check_local(target).expanduser().absolute()
    _check_target(target, to)
    chosen = images_for(read.config, images)
    network = read.network()
    wanted = _own_probabilities(network, chosen.pixels, read.config.temperature)
    graph = ExportGraph(network, read.config.temperature).eval()
    write = _write_onnx_file if to == "onnx" else _write_openvino_folder
    told, size = write(graph, read, target, chosen, wanted)
    return ExportResult(
        path=target,
        to=to,
        bundle=read.folder,
        model_id=read.model_id,
        model=read.config.model,
        images=len(chosen.names),
        phantoms=chosen.phantoms,
        unreadable=chosen.unreadable,
        checked_with=tuple(told),
        largest_difference=max(told.values()),
        bytes=size,
    )


def check_export(
    path: Path, runners: dict[str, Runner], images: CheckImages, wanted: Floats
) -> dict[str, float]:
    """Run an exported file and compare its probabilities with the bundle's.

    Args:
        path: the file.
        runners: name of a program -> runs the file; gives ``None`` where it is not installed.
        images: to run it on.
        wanted: (n, classes), the bundle's probabilities.

    Returns:
        Name of the program -> largest absolute difference.

    Raises:
        EnvironmentProblem: a difference is over ``limits.EXPORT_DIFFERENCE_MAX``, or not a
            number.
    """
    told = {}
    for name, run in runners.items():
        found = run(path, images.pixels)
        if found is None:
            continue
        apart = np.abs(found - wanted).max(axis=1)
        worst = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
        if not apart[worst] <= limits.EXPORT_DIFFERENCE_MAX:
            raise EnvironmentProblem(
                f"nothing was written: run by {name}, a probability of {images.names[worst]} is "
                f"{apart[worst]:.2g} from the bundle's, over {limits.EXPORT_DIFFERENCE_MAX:g}: "
                "try the other form (--to), or another version of that program"
            )
        told[name] = float(apart[worst])
    return told


@torch.inference_mode()
def _own_probabilities(network: Network, pixels: Pixels, temperature: float) -> Floats:
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
        raise UsageError(f"--out {target}: name a folder; it gets {IR_FILE} and its weights")
    if target.is_dir() and any(target.iterdir()) and not (target / IR_FILE).is_file():
        raise UsageError(f"{target}: holds something that is no export: choose another --out")


def _write_onnx_file(
    graph: ExportGraph, bundle: Bundle, target: Path, images: CheckImages, wanted: Floats
) -> tuple[dict[str, float], int]:
    runners: dict[str, Runner] = {"OpenVINO": run_openvino, "ONNX Runtime": run_onnxruntime}
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{uuid.uuid4().hex}{_ONNX_END}")
        try:
            write_onnx(graph, bundle.config.input_size, aside, metadata_of(bundle))
            told = check_export(aside, runners, images, wanted)
            os.replace(aside, target)  # noqa: PTH105 - the atomic one, also over a file
        finally:
            aside.unlink(missing_ok=True)
    return told, target.stat().st_size


def _write_openvino_folder(
    graph: ExportGraph, bundle: Bundle, target: Path, images: CheckImages, wanted: Floats
) -> tuple[dict[str, float], int]:
    runners: dict[str, Runner] = {"OpenVINO": run_openvino}
    with whole_folder(target) as aside:
        path = aside / IR_FILE
        write_openvino(graph, bundle.config.input_size, path, metadata_of(bundle))
        told = check_export(path, runners, images, wanted)
    return told, sum(file.stat().st_size for file in target.iterdir())
