"""Pairs of real images that were looked at one by one: copies, and others that look like them.

``real_duplicates.csv`` has file names alone. Candidates came from neighbours by ImageNet's deep
features and by correlation of thumbnails, of which those with many SIFT matches on one affine
map, or a good fit, were looked at; and from the search itself. ``python -m benchmarks
real_duplicates`` runs the search on all images of the folders.

The settings were tuned on ``real_duplicates.csv``, so it says little of other images. The pairs of
``real_duplicates_fresh.csv`` were looked at later, blind to what the search says of them, and no
setting was chosen on them. They were drawn by strata from pairs that were not listed before, of
one image a known cluster: by correlation of thumbnails and their cuts over all pairs of three
sets, by the features of a SqueezeNet, by a difference hash, and by matches of SIFT features on
one affine map. ``candidate_of`` names the stratum, the first that a pair falls into, and
``weight`` how many of its pairs a judged one stands for. A pair where the eye could not tell
would be "unsure" and count nowhere; there is none. Copies in it are either sized and encoded
anew, which is easy, or cut and turned a lot, which the search mostly misses: four alone.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pulmospark.config.audit import AuditSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.data.duplicates.alignment import overlay_correlation
from pulmospark.data.duplicates.fingerprints import SMALL_SIDE, hashes_of
from pulmospark.data.duplicates.near_duplicates import clusters
from pulmospark.imaging.image import StandardImage, read_image
from pulmospark.imaging.standardise import resized

TUNED, FRESH = "real_duplicates.csv", "real_duplicates_fresh.csv"
AT_LEAST = {TUNED: (0.95, 0.9), FRESH: (0.95, 0.9)}
"""precision and recall; for the fresh list what it reached, less a margin"""
SETTINGS = AuditSettings()
Small = npt.NDArray[np.uint8]


def _listed(name: str) -> list[dict[str, str]]:
    with (Path(__file__).parent / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module", params=[TUNED, FRESH])
def named(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pairs(named: str) -> list[dict[str, str]]:
    return [pair for pair in _listed(named) if pair["judged"] != "unsure"]


@pytest.fixture(scope="module")
def looks(pairs: list[dict[str, str]], shared_data: Path) -> dict[str, tuple[list[int], Small]]:
    found = {}
    for name in sorted({pair[key] for pair in pairs for key in ("first", "second")}):
        image = read_image(str(shared_data / name), IngestSettings())
        assert isinstance(image, StandardImage), name
        pixels = image.pixels
        found[name] = (hashes_of(pixels), resized(pixels, SMALL_SIDE, SMALL_SIDE))
    return found


def _distance(one: list[int], other: list[int]) -> int:
    """Least distance of the whole of one image from any cut of the other."""
    crops = [(one[0], cut) for cut in other] + [(other[0], cut) for cut in one]
    return min(((a ^ b) & (2**64 - 1)).bit_count() for a, b in crops)


def test_copies_are_told_from_other_images_of_the_same_patient(
    named: str, pairs: list[dict[str, str]], looks: dict[str, tuple[list[int], Small]]
) -> None:
    assert len(pairs) >= 120
    names = sorted(looks)
    number = {name: place for place, name in enumerate(names)}
    fits = []
    for pair in pairs:
        one, other = looks[pair["first"]], looks[pair["second"]]
        near = _distance(one[0], other[0]) <= SETTINGS.hash_distance
        if near and overlay_correlation(one[1], other[1]) >= SETTINGS.copy_correlation:
            fits.append((number[pair["first"]], number[pair["second"]]))
    edges = np.asarray(fits, np.int64)
    cluster = clusters(edges[:, 0], edges[:, 1], len(names))
    said = np.asarray([cluster[number[p["first"]]] == cluster[number[p["second"]]] for p in pairs])
    copy = np.asarray([pair["judged"] == "copy" for pair in pairs])
    precision, recall = AT_LEAST[named]
    assert copy[said].mean() >= precision
    assert said[copy].mean() >= recall


def test_the_fresh_list_shares_no_pair_with_the_one_that_was_tuned_on() -> None:
    tuned, fresh = ([frozenset((p["first"], p["second"])) for p in _listed(n)] for n in AT_LEAST)
    assert len(set(fresh)) == len(fresh)
    assert not set(tuned) & set(fresh)
    assert {pair["judged"] for pair in _listed(FRESH)} <= {"copy", "other", "unsure"}
    assert all(float(pair["weight"]) >= 1 for pair in _listed(FRESH))
