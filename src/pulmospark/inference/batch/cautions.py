"""Cautions: which images a model scores though its answer may mean nothing, and why.

The same rules hold in ``predict``, in a stream and in Spark ML; :class:`Checks` travels with the
scorer to the workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pulmospark.core.schemas import FRONTAL_VIEWS, BodyPart, Caution, View
from pulmospark.imaging.image import StandardImage
from pulmospark.models.bundle.feature_distance import FeatureDistance, open_distance

PHANTOM_DETAIL = (
    "the model was trained on phantoms, and this is none by its file's comment: "
    "--allow-phantom-model scores it all the same"
)
NOT_ASSESSABLE = "not assessable: the bundle has no statistics of its training images"

_SENTENCES = {
    Caution.UNLIKE_TRAINING_IMAGES: "unlike the training images",
    Caution.OTHER_VIEW: "not a view that the model was trained on",
    Caution.OTHER_VIEW_GUESSED: "not a view that the model was trained on (guessed from pixels)",
    Caution.OTHER_BODY_PART: "the DICOM header names another part of the body than the chest",
    Caution.BODY_PART_UNRECOGNISED: "the DICOM header names a part of the body that is not "
    "recognised",
    Caution.PHANTOM_MODEL: "the model was trained on phantoms, and its answer says nothing of a "
    "person",
    Caution.NOT_A_PHANTOM: "no phantom, scored by a model that was trained on phantoms",
}


@dataclass(frozen=True)
class Checks:
    """What is checked of an image that is scored; plain values, for it travels.

    Attributes:
        views: of the images trained on; empty: not known, and no view is cautioned.
        phantom_model: the model was trained on phantoms.
        distances: file with the statistics of the training images, which every worker has to
            see; ``None``: the bundle has none.
        fence: of the distances; beyond it lie images unlike those trained on.
    """

    views: tuple[str, ...] = ()
    phantom_model: bool = False
    distances: str | None = None
    fence: float | None = None

    def opened(self) -> FeatureDistance | None:
        """The statistics, read once a process.

        Raises:
            EnvironmentProblem: the file is not to be seen from here.
        """
        return None if self.distances is None else open_distance(self.distances)

    def cautions(self, facts: Mapping[str, Any], distance: float | None) -> list[str]:
        """What is to be said of an image, as values of :class:`Caution`.

        Args:
            facts: ``view``, ``view_measured``, ``view_guess``, ``body_part`` and ``phantom``, as
                far as they are known; see :func:`facts_of` and ``data.ingest.rows.facts_row``.
            distance: from the training images; ``None``: not assessable.
        """
        found = []
        if distance is not None and self.fence is not None and not distance <= self.fence:
            found.append(Caution.UNLIKE_TRAINING_IMAGES)
        if (view := self._view_caution(facts)) is not None:
            found.append(view)
        if facts.get("body_part") == BodyPart.OTHER:
            found.append(Caution.OTHER_BODY_PART)
        if facts.get("body_part") == BodyPart.UNRECOGNISED:
            found.append(Caution.BODY_PART_UNRECOGNISED)
        if self.phantom_model:
            found.append(Caution.PHANTOM_MODEL)
            if not facts.get("phantom"):
                found.append(Caution.NOT_A_PHANTOM)
        return [caution.value for caution in found]

    def _view_caution(self, facts: Mapping[str, Any]) -> Caution | None:
        view, guessed = facts.get("view") or View.UNKNOWN, bool(facts.get("view_measured"))
        if view == View.UNKNOWN and facts.get("view_guess"):
            view, guessed = facts["view_guess"], True
        if not self.views or view == View.UNKNOWN or view in self.views:
            return None
        frontal = view in FRONTAL_VIEWS and FRONTAL_VIEWS & set(self.views)
        if frontal and (view == View.FRONTAL or View.FRONTAL in self.views):
            return None  # frontal, and which of them is not known on one side
        return Caution.OTHER_VIEW_GUESSED if guessed else Caution.OTHER_VIEW


NO_CHECKS = Checks()
"""of a model of which nothing is known"""


def facts_of(image: StandardImage) -> dict[str, Any]:
    """What :meth:`Checks.cautions` takes, of a file of which no source says anything."""
    header = image.header
    return {
        "view": header.view.value if header else View.UNKNOWN.value,
        "view_guess": image.view.value if image.view else None,
        "body_part": header.body_part.value if header else None,
        "phantom": image.phantom,
    }


def sentence(caution: str, distance: float | None = None, fence: float | None = None) -> str:
    """A caution as a person reads it.

    Args:
        caution: a value of :class:`Caution`.
        distance: of the image; said with the fence where the caution rests on it.
        fence: of the model.
    """
    text = _SENTENCES[Caution(caution)]
    if caution == Caution.UNLIKE_TRAINING_IMAGES and distance is not None and fence is not None:
        return f"{text} (distance {distance:.3g}, fence {fence:.3g})"
    return text
