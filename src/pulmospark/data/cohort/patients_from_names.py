"""Group images that probably show one patient, by file and folder names, if no id is known.

Merging two patients only costs the split a little freedom; separating one patient's images lets
the model be tested on somebody it was trained on. So the rules are generous, but none may put a
large part of a source into one group.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from pulmospark.core import limits

_PERSON = re.compile(
    r"(?:^|[^a-z])(?:(person|patient|pat|subject|subj|case|pid|pt)[-_ ]?(\d+)|(sub)-([a-z0-9]+))",
    re.IGNORECASE,
)
"""``person123_virus``, ``patient00012``, ``case-7``; ``sub-S03044`` as in BIDS."""
_NUMBERED = re.compile(r"^p\d{6,}$", re.IGNORECASE)
"""``p10000032``: patient folders as in MIMIC-CXR."""
_STUDY = re.compile(r"^(?:study|session|ses|exam|visit|scan|series)[-_ ]?\w*\d\w*$", re.IGNORECASE)
_VIEW = re.compile(r"^(?:pa|ap|ll|lat|lateral|frontal|view\d*)$", re.IGNORECASE)
_SEPARATOR = re.compile(r"[-_ ]+")


def name_groups(uris: pd.Series[Any], root: str | None) -> pd.Series[Any]:
    """Name of each image's group, null if its names give none.

    In this order: a person's number in the file's name or a folder's (``patient00012``); the
    folder above a study's folder (``00012/study1``), or the study's folder where that one has no
    number; the file's name without its last numbers and view (``00000013_005``,
    ``IM-0115-0001``, ``1234_lateral``). A number that would put a large share of the source into
    one group is a date or a class rather than a patient, and is not used.

    Args:
        uris: paths of images of one source without a known patient.
        root: folder or sheet of the source: names above it are ignored.
    """
    read = [_group_of(uri, root) for uri in uris]
    keys = pd.Series([None if by_index else key for key, by_index in read], uris.index, object)
    indexed = pd.Series([key if by_index else None for key, by_index in read], uris.index, object)
    keys = bounded(keys, limits.STATED_GROUP_SHARE_MAX)
    return keys.where(keys.notna(), bounded(indexed, limits.NAME_GROUP_SHARE_MAX))


def bounded(keys: pd.Series[Any], share: float) -> pd.Series[Any]:
    """The keys, or none of them if one covers too many images.

    Args:
        keys: of each image of a source, or null.
        share: maximum share of the images per key; ``limits.NAME_GROUP_IMAGES`` always pass.
    """
    sizes = keys.value_counts()
    most = max(limits.NAME_GROUP_IMAGES, share * len(keys))
    return keys.where(keys.isna(), None) if len(sizes) and sizes.iloc[0] > most else keys


def _group_of(uri: str, root: str | None) -> tuple[str | None, bool]:
    """The key of one image, and whether it comes from the file's last numbers."""
    path = PurePosixPath(uri)
    folders: tuple[str, ...] = ()
    for base in (PurePosixPath(root), PurePosixPath(root).parent) if root else ():
        if path.is_relative_to(base):  # the path of a source may be that of its sheet
            folders = path.relative_to(base).parts[:-1]
            break
    stem = path.name.partition(".")[0] if path.name.count(".") == 1 else path.stem
    for name in (stem, *reversed(folders)):
        if match := _PERSON.search(name):
            return "".join(part for part in match.groups() if part).lower(), False
        if name is not stem and _NUMBERED.match(name):
            return name.lower(), False
    for place in range(len(folders) - 1, -1, -1):
        if _STUDY.match(folders[place]):
            above = place and any(letter.isdigit() for letter in folders[place - 1])
            return "/".join(folders[: place if above else place + 1]), False
    return _without_index(stem), True


def _without_index(stem: str) -> str | None:
    """A name with only the first of the numbers at its end: ``IM-0115-0001``, IM-0115."""
    parts = _SEPARATOR.split(stem)
    whole = len(parts)
    while parts and _VIEW.match(parts[-1]):
        parts.pop()
    first = len(parts)
    while first and parts[first - 1].isdigit():
        first -= 1
    # A single number counts the images, unless a view follows it.
    if first == len(parts) or (first + 1 == len(parts) == whole):
        return None
    return "-".join(parts[: first + 1])
