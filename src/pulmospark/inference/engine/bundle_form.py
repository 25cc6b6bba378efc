"""The engine's form of a network inside its bundle, so that scoring need not import torch."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pulmospark.config.base import Settings
from pulmospark.core.files import whole_folder, write_bytes, write_json
from pulmospark.core.hashing import value_id
from pulmospark.inference.engine.available import library_version
from pulmospark.inference.engine.openvino_compile import IR_FILE
from pulmospark.inference.engine.spec import SPEC_FILE, EngineSpec, Outputs
from pulmospark.models.bundle.bundle import Bundle
from pulmospark.models.bundle.config import BundleConfig
from pulmospark.models.bundle.files import ENGINE

if TYPE_CHECKING:
    from pulmospark.models.zoo.network import Network

FORM_VERSION = 1
"""raised whenever the same network is converted to another form: older ones are then unused"""

_WEIGHTS_FILE = str(Path(IR_FILE).with_suffix(".bin"))


class EngineForm(Settings):
    """Content of ``engine.json``: what the form was made from, and with what."""

    form_version: int
    openvino: str
    """version of the library"""
    spec: EngineSpec
    """without id and folder"""


def outputs_of(config: BundleConfig) -> Outputs:
    """What a bundle's engine returns: features, too, if there are statistics to compare with."""
    return "both" if config.distance else "logits"


def engine_files(
    network: Network, config: BundleConfig, engines: Path | None = None
) -> dict[str, bytes] | None:
    """A network in the engine's form, for its bundle.

    Args:
        network: in evaluation mode.
        config: of the bundle.
        engines: folder of engines that have been prepared; ``None``: a temporary one.

    Returns:
        Content by file name; ``None``: OpenVINO is not installed, or cannot convert the network.

    Raises:
        PlatformError: no space in the temporary folder.
    """
    from pulmospark.inference.engine.build import prepare_engine  # noqa: PLC0415 - torch

    version = library_version("openvino")
    if version is None:
        return None
    with contextlib.ExitStack() as ended:
        if engines is None:
            name = ended.enter_context(tempfile.TemporaryDirectory(prefix="pulmospark-"))
            engines = Path(name)
        spec = prepare_engine(network, engines, outputs=outputs_of(config), size=config.input_size)
        if spec.kind != "openvino":
            return None
        form = EngineForm(
            form_version=FORM_VERSION,
            openvino=version,
            spec=spec.model_copy(update={"engine_id": "", "folder": ""}),
        )
        folder = Path(spec.folder)
        content = json.dumps(form.model_dump(mode="json"), indent=2, sort_keys=True)
        files = (content.encode(), (folder / IR_FILE).read_bytes())
        return dict(zip(ENGINE, (*files, (folder / _WEIGHTS_FILE).read_bytes()), strict=True))


def engine_in(bundle: Bundle, folder: Path) -> EngineSpec | None:
    """A bundle's engine, written into ``folder`` as ``prepare_engine`` would.

    Args:
        bundle: read and verified.
        folder: parent of the engine's folder.

    Returns:
        ``None``: the bundle has none, or one for another version of the engine.

    Raises:
        BundleError: the bundle changed since it was read.
        PlatformError: no space, or no right to write there.
    """
    files = bundle.engine_files()
    if files is None:
        return None
    try:
        form = EngineForm.model_validate_json(files[ENGINE[0]])
    except ValidationError:  # of a later version
        return None
    if (form.form_version, form.openvino) != (FORM_VERSION, library_version("openvino")):
        return None
    config, spec = bundle.config, form.spec
    described = {
        **{"kind": "openvino", "precision": "fp32", "outputs": outputs_of(config)},
        **{"model": config.model, "size": config.input_size, "classes": len(config.classes)},
    }
    if any(getattr(spec, name) != value for name, value in described.items()):
        return None
    # Nothing that a bundle says of itself becomes a path or a key.
    engine_id = value_id([bundle.model_id, *bundle.engine_sha256, form.openvino])
    target = folder.resolve() / engine_id
    spec = spec.model_copy(update={"engine_id": engine_id, "folder": str(target)})
    if not (target / SPEC_FILE).is_file():
        with whole_folder(target) as aside:
            write_bytes(aside / IR_FILE, files[ENGINE[1]])
            write_bytes(aside / _WEIGHTS_FILE, files[ENGINE[2]])
            write_json(aside / SPEC_FILE, spec.model_dump(mode="json"))
    return spec
