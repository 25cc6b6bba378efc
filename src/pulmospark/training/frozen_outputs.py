"""Outputs of frozen stages on disk, computed once per image instead of once per epoch.

They are float32 also where training computes in bf16, because validation reads them as well. A
file holds those of one row group and is named by the frozen weights and the group's pixels. So a
killed training run finds what it has computed, and the trainings of all folds share it.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn

from pulmospark.chunks.parquet_files import Place
from pulmospark.config.train import NetworkSettings
from pulmospark.core import files, hashing, limits
from pulmospark.core.arrays import Pixels
from pulmospark.models.zoo.network import Network
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.store import in_parallel, open_store
from pulmospark.store.uri import StoreUri
from pulmospark.training.dataset import Listing, Piece, over_pieces, read_piece
from pulmospark.training.folded_batch_norm import folded_batch_norm
from pulmospark.training.frozen_stages import FrozenStages, split_frozen
from pulmospark.training.process_group import Ranks

_LOG = logging.getLogger(__name__)
_BATCH = 32
_OWN = "frozen-outputs"
"""folder of a process's own outputs"""
_Place = tuple[NDArray[np.float32], int]


@dataclass(frozen=True)
class FrozenOutputs:
    """Outputs of frozen stages, mapped into memory.

    Attributes:
        stages: the parts of the network.
        places: by name of the image, the array that holds its output and the row in it.
    """

    stages: FrozenStages
    places: Mapping[str, _Place]

    def of(self, keys: Sequence[str]) -> torch.Tensor:
        """Outputs of images, float32 (n, ...); maps (n, channels, h, w) in channels-last order."""
        rows = [array[row] for array, row in map(self.places.__getitem__, keys)]
        return _channels_first(torch.from_numpy(np.stack(rows)))


@dataclass(frozen=True)
class OutputsFolder:
    """Where outputs lie; each process sees the folder, or has its own and shares an address.

    Attributes:
        folder: of this machine.
        address: that the processes share; ``None``: they share the folder.
    """

    folder: Path
    address: StoreUri | None = None

    @classmethod
    def of(cls, place: Place, *, here: Path) -> OutputsFolder:
        """The folder at a path, or for an address one in the folder ``here``."""
        return cls(here / _OWN, place) if isinstance(place, StoreUri) else cls(place)

    def bring(self, path: Path) -> None:
        """Bring a file that another process wrote, or an earlier training, where there is one.

        Raises:
            SourceUnavailableError: the store fails.
            PlatformError: no space, or no permission to write there.
        """
        if self.address is None or path.is_file():
            return
        uri = self._of(path)
        with contextlib.suppress(ObjectMissingError), files.disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.whole_file(path) as aside:
                open_store(uri).save(uri.key, aside)

    def share(self, path: Path) -> None:
        """Let the other processes have a file.

        Raises:
            SourceUnavailableError: the store fails.
        """
        if self.address is not None:
            uri = self._of(path)
            open_store(uri).put_file(uri.key, path)

    def _of(self, path: Path) -> StoreUri:
        assert self.address is not None
        return self.address / path.relative_to(self.folder).as_posix()


def can_keep(
    network: Network, settings: NetworkSettings, listings: Sequence[Listing], folder: Path | None
) -> bool:
    """Whether the outputs of the frozen stages fit into the limit and on the disk.

    Args:
        network: frozen as configured.
        settings: of the training.
        listings: the images.
        folder: where the outputs would lie; ``None``: on other machines.
    """
    if (stages := split_frozen(network, settings)) is None:
        if settings.trainable != "all":
            _LOG.info("%s cannot be cut after its frozen stages", network.name)
        return False
    output = _compute(stages.extractor(network), np.zeros((1, *[listings[0].size] * 2), np.uint8))
    groups = _groups(listings)
    needed = output.nbytes * sum(map(_rows, groups))
    room = limits.FROZEN_OUTPUTS_BYTES_MAX
    if folder is not None:
        there = sum(path.stat().st_size for path in folder.glob("*/*.npy"))
        room = min(room, shutil.disk_usage(folder).free + there)
    if needed > room:
        _LOG.warning(
            "outputs of frozen stages take %d bytes, over the limit of %d or the space in %s, %d: "
            "computed in each epoch, which takes longer",
            needed,
            limits.FROZEN_OUTPUTS_BYTES_MAX,
            folder or "the store",
            room,
        )
        return False
    _LOG.info("outputs of frozen stages are kept, up to %d bytes", needed)
    return True


def keep_outputs(
    network: Network,
    settings: NetworkSettings,
    listings: Sequence[Listing],
    outputs: OutputsFolder,
    ranks: Ranks,
) -> FrozenOutputs | None:
    """Compute the outputs of frozen stages that are not there yet, and open all.

    Each process computes a share.

    Args:
        network: on the device of ``ranks``; frozen as configured.
        settings: of the training.
        listings: the images.
        outputs: where they lie.
        ranks: this process among the others.

    Returns:
        The outputs; ``None`` if the network cannot be cut.

    Raises:
        EnvironmentProblem: no space, or no permission to write there.
    """
    if (stages := split_frozen(network, settings)) is None:
        return None
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    extractor = stages.extractor(network)
    inside = outputs.folder / _network_id(stages, network)
    groups = _groups(listings)
    with folded_batch_norm(network.backbone):
        size = listings[0].size
        paths = _files(groups, size, extractor, inside=inside, outputs=outputs, ranks=ranks)
    ranks.total(0.0)  # no process may open files that another has not written
    in_parallel(outputs.bring, paths)
    arrays = {
        (group.path, group.group): np.load(path, mmap_mode="r")
        for group, path in zip(groups, paths, strict=True)
    }
    places: dict[str, _Place] = {}
    for listing in listings:
        for piece in listing.pieces:
            array = arrays[piece.path, piece.group]
            keys = listing.keys.take(pa.array(piece.images)).to_pylist()
            places |= {key: (array, int(row)) for key, row in zip(keys, piece.rows, strict=True)}
    return FrozenOutputs(stages, places)


def _files(
    groups: Sequence[Piece],
    size: int,
    extractor: nn.Module,
    *,
    inside: Path,
    outputs: OutputsFolder,
    ranks: Ranks,
) -> list[Path]:
    """The file of each row group; this process's share is there and shared at the end."""
    mine = {(group.path, group.group) for group in groups[ranks.rank :: ranks.world]}

    def read(group: Piece) -> tuple[Pixels, Path]:
        pixels = read_piece(group, size)
        path = inside / f"{hashing.bytes_id(pixels.tobytes())}.npy"
        if (group.path, group.group) in mine:
            outputs.bring(path)
        return pixels, path

    paths = []
    # What is computed is shared while the next is.
    with ThreadPoolExecutor(1, thread_name_prefix="store") as sharing:
        shared = []
        for group, (pixels, path) in zip(groups, over_pieces(read, groups, size), strict=True):
            if (group.path, group.group) in mine and _opened(path, len(pixels)) is None:
                _write(path, extractor, pixels, ranks)
                shared.append(sharing.submit(outputs.share, path))
            paths.append(path)
        for answer in shared:
            answer.result()
    return paths


def _write(path: Path, extractor: nn.Module, pixels: NDArray[np.uint8], ranks: Ranks) -> None:
    with files.disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.whole_file(path) as aside:
            held: NDArray[np.float32] | None = None
            for start in range(0, len(pixels), _BATCH):
                some = _compute(extractor, pixels[start : start + _BATCH], ranks.device)
                if held is None:
                    shape = (len(pixels), *some.shape[1:])
                    held = np.lib.format.open_memmap(aside, "w+", np.float32, shape)
                    files.allocate(aside)
                held[start : start + len(some)] = some


@torch.inference_mode()
def _compute(
    extractor: nn.Module, pixels: NDArray[np.uint8], device: torch.device | None = None
) -> NDArray[np.float32]:
    """Outputs for pixels uint8 (n, h, w), in the order in which they are kept."""
    output = extractor(torch.from_numpy(pixels).to(device or "cpu")).float()
    values: NDArray[np.float32] = _channels_last(output).contiguous().cpu().numpy()
    return values


def _channels_last(output: torch.Tensor) -> torch.Tensor:
    return output.permute(0, 2, 3, 1) if output.ndim == 4 else output


def _channels_first(output: torch.Tensor) -> torch.Tensor:
    return output.permute(0, 3, 1, 2) if output.ndim == 4 else output


def _opened(path: Path, rows: int) -> NDArray[np.float32] | None:
    """An earlier file; ``None`` if there is none, or it is damaged."""
    try:
        array: NDArray[np.float32] = np.load(path, mmap_mode="r")
    except (OSError, ValueError):
        return None
    return array if len(array) == rows else None


def _network_id(stages: FrozenStages, network: Network) -> str:
    """Content id of the frozen stages: their graph, weights and standardisation, and torch."""
    extractor = stages.extractor(network)
    front = extractor.get_submodule("front").state_dict()
    weights = {
        name: hashing.bytes_id(value.detach().cpu().contiguous().numpy().tobytes())
        for name, value in front.items()
    }
    about = [network.name, str(stages.front), network.channel_mean, network.channel_std]
    return hashing.value_id([*about, weights, torch.__version__])[:32]


def _groups(listings: Sequence[Listing]) -> list[Piece]:
    """The row groups that hold the images, whole."""
    pieces = {(p.path, p.group): p.group_rows for listing in listings for p in listing.pieces}
    wholes = []
    for path, group in sorted(pieces, key=lambda place: (str(place[0]), place[1])):
        rows = np.arange(pieces[path, group])
        wholes.append(Piece(path, group, rows, rows, len(rows)))
    return wholes


def _rows(piece: Piece) -> int:
    return len(piece.rows)
