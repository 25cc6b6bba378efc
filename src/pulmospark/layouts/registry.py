"""The known layouts, and recognition of a folder's layout."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pulmospark.core.errors import InputError, LayoutError, UsageError
from pulmospark.layouts.base import Layout
from pulmospark.layouts.datasets.actualmed import Actualmed
from pulmospark.layouts.datasets.bimcv_covid19 import BimcvCovid19
from pulmospark.layouts.datasets.cc_ccii import CcCcii
from pulmospark.layouts.datasets.chexpert import CheXpert
from pulmospark.layouts.datasets.class_folders import ClassFolders
from pulmospark.layouts.datasets.covid_chestxray import CovidChestXray
from pulmospark.layouts.datasets.covid_ct_md import CovidCtMd
from pulmospark.layouts.datasets.covid_qu_ex import CovidQuEx
from pulmospark.layouts.datasets.covidx import Covidx
from pulmospark.layouts.datasets.covidx_ct import CovidxCt
from pulmospark.layouts.datasets.csv_table import CsvTable
from pulmospark.layouts.datasets.dicom import DicomStudies
from pulmospark.layouts.datasets.figure1 import Figure1
from pulmospark.layouts.datasets.hannover import Hannover
from pulmospark.layouts.datasets.kermany import Kermany
from pulmospark.layouts.datasets.mimic_cxr_jpg import MimicCxrJpg
from pulmospark.layouts.datasets.nih14 import Nih14
from pulmospark.layouts.datasets.padchest import PadChest
from pulmospark.layouts.datasets.radiography_database import RadiographyDatabase
from pulmospark.layouts.datasets.rsna_pneumonia import RsnaPneumonia
from pulmospark.layouts.datasets.siim_covid19 import SiimCovid19
from pulmospark.layouts.datasets.vinbigdata import VinBigData
from pulmospark.layouts.datasets.vindr_cxr import VindrCxr
from pulmospark.layouts.walk import absolute, glance
from pulmospark.store.archives import archive_folder, directory_of, is_archive, outermost
from pulmospark.store.uri import is_store_uri

_LOG = logging.getLogger(__name__)

LAYOUTS: tuple[Layout, ...] = (
    CovidChestXray(),
    Hannover(),
    Actualmed(),
    Figure1(),
    Nih14(),
    RadiographyDatabase(),
    CovidQuEx(),
    Kermany(),
    Covidx(),
    BimcvCovid19(),
    RsnaPneumonia(),
    CheXpert(),
    MimicCxrJpg(),
    VindrCxr(),
    VinBigData(),
    PadChest(),
    SiimCovid19(),
    CcCcii(),
    CovidxCt(),
    CovidCtMd(),
    CsvTable(),
    DicomStudies(),
    ClassFolders(),
)
"""All layouts, most specific first: of two equally confident ones the first wins."""

_COLUMN_OPTION = "_column"
_WRAPPINGS_MAX = 2
_FOLDERS_LOOKED_AT = 50


class Recognition(NamedTuple):
    """A layout and the folder that has it, which may lie inside the given one."""

    layout: Layout
    folder: Path


def find(name: str) -> Layout:
    """The layout of a name, ignoring case; ``-`` and ``_`` are the same.

    Raises:
        UsageError: there is none; the message lists the known ones.
    """
    plain = name.strip().casefold().replace("-", "_")
    for layout in LAYOUTS:
        if layout.name == plain:
            return layout
    known = ", ".join(layout.name for layout in LAYOUTS)
    raise UsageError(f"unknown layout {name!r}: choose from {known}")


def recognise(path: Path, options: Mapping[str, str] | None = None) -> Recognition:
    """The layout of a folder (or a CSV file), and the folder that has it.

    Looks inside a folder that contains nothing but the data set's folder, as after unpacking.

    Args:
        path: of the folder or file.
        options: of the layout. Named columns take precedence over recognising a sheet.

    Raises:
        InputError: there is no such folder.
        LayoutError: no layout matches, or the folder contains several data sets.
    """
    path = existing(path)
    if _names_columns(path, options or {}):
        return Recognition(find(CsvTable.name), path)
    if path.is_file():
        best = _best(path)
        if best is None:
            raise LayoutError(
                f"{path}: not a CSV or TSV with a column of paths and one of labels: give a "
                "folder, or --layout csv with the options path_column and label_column"
            )
        return best
    here = _best(path)
    if here is not None and not here.layout.generic:
        return here
    # A folder of data sets looks like a folder of classes.
    inside = [place for place in _inside(path, _WRAPPINGS_MAX) if not place.layout.generic]
    if here is None and len(inside) == 1:
        return inside[0]
    if here is None and not inside:
        inside = _inside(path, _WRAPPINGS_MAX)
        if len(inside) == 1:
            return inside[0]
    if inside:
        names = ", ".join(f"{f.folder.name} ({f.layout.name})" for f in inside[:6])
        raise LayoutError(
            f"{path}: contains several data sets, {names}: give each as a source, or specify "
            "--layout (layout = in TOML)"
        )
    if here is not None:
        return here
    raise LayoutError(
        f"{path}: no known layout matches; specify --layout (layout = in TOML) as one of "
        + ", ".join(layout.name for layout in LAYOUTS)
        + "; `pulmospark layouts` describes how each is recognised"
    )


def _names_columns(path: Path, options: Mapping[str, str]) -> bool:
    """Whether options name columns of a sheet that exists."""
    named = any(option.endswith(_COLUMN_OPTION) for option in options)
    return named and (path.is_file() or CsvTable.has_sheet(path))


def locate(layout: Layout, path: Path) -> Recognition:
    """The folder that has a given layout: the given one, or one inside it.

    Raises:
        InputError: there is no such folder.
        LayoutError: it is a file, but the layout takes folders.
    """
    path = existing(path)
    if path.is_file() and layout.name != CsvTable.name:
        raise LayoutError(
            f"{path}: is a file, but the layout {layout.name!r} takes a folder: give the folder"
        )
    if path.is_file() or layout.recognises(path) > 0:
        return Recognition(layout, path)
    inside = [name for name in _folders(path) if layout.recognises(path / name) > 0]
    return Recognition(layout, path / inside[0] if len(inside) == 1 else path)


def data_sets(path: Path) -> list[Recognition]:
    """The public data sets at a path: the folder itself, or those side by side in it.

    Raises:
        InputError: there is no such folder.
    """
    path = existing(path)
    if path.is_dir() and (here := _best(path)) is not None and not here.layout.generic:
        return [here]
    return [place for place in _inside(path, _WRAPPINGS_MAX) if not place.layout.generic]


def place_of(
    path: Path, layout: str | None, options: Mapping[str, str] | None = None
) -> Recognition:
    """The folder of a source, and its layout: the given one, or else the detected one.

    Args:
        path: of the source.
        layout: its name; ``None``: detected.
        options: of the layout.

    Raises:
        UsageError: the layout is unknown.
        InputError: there is no such folder.
        LayoutError: no layout matches.
    """
    place = recognise(path, options) if layout is None else locate(find(layout), path)
    _LOG.info(
        "%s: layout %s, %s (recognised by %s)",
        place.folder,
        place.layout.name,
        "detected" if layout is None else "as configured",
        place.layout.looked_for,
    )
    return place


def existing(path: Path) -> Path:
    """``path`` as an absolute path; that of an archive as the folder of its files.

    Raises:
        InputError: there is no such file or folder, its name cannot be stored in a table, or it is
            an archive that cannot be read.
        SourceUnavailableError: it lies in a store, which fails.
    """
    path = absolute(path)
    if path.is_file() and is_archive(path.name):
        path = Path(archive_folder(str(path)))
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{str(path)!a}: the name is not valid UTF-8: rename the folder"
        ) from error
    outer = outermost(str(path))
    if is_store_uri(outer):
        directory_of(outer)
    elif not Path(outer).exists():
        raise InputError(f"{path}: no such folder: check the path of the source")
    return path


def _best(path: Path) -> Recognition | None:
    best, most = None, 0.0
    for layout in LAYOUTS:
        if (score := layout.recognises(path)) > most:
            best, most = Recognition(layout, path), score
    return best


def _inside(path: Path, depth: int) -> list[Recognition]:
    return list(_search(path, depth))


def _search(path: Path, depth: int) -> Iterator[Recognition]:
    """Data sets in the folders of ``path``; a folder without one is searched in turn."""
    for name in _folders(path):
        if (place := _best(path / name)) is not None:
            yield place
        elif depth > 1:
            yield from _search(path / name, depth - 1)


def _folders(path: Path) -> tuple[str, ...]:
    return glance(path).folders[:_FOLDERS_LOOKED_AT]
