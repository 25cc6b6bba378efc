"""Cautions: which scored images may have a meaningless prediction, and why.

The same rules apply in ``predict``, in a stream and in Spark ML; :class:`Checks` travels with the
scorer to the workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulmospark.core.schemas import FRONTAL_VIEWS, BodyPart, Caution, View
from pulmospark.models.bundle.feature_distance import FeatureDistance, open_distance

if TYPE_CHECKING:
    from pulmospark.imaging.image import StandardImage

PHANTOM_DETAIL = (
    "the model was trained on phantoms, and the file's comment does not mark it as one: "
    "--allow-phantom-model scores it anyway"
)
NOT_ASSESSABLE = "not assessable: the bundle has no statistics of its training images"

_SENTENCES = {
    Caution.UNLIKE_TRAINING_IMAGES: "unlike the training images",
    Caution.OTHER_VIEW: "not a view that the model was trained on",
    Caution.OTHER_VIEW_GUESSED: "not a view that the model was trained on (guessed from pixels)",
    Caution.OTHER_BODY_PART: "the DICOM header names a body part other than the chest",
    Caution.BODY_PART_UNRECOGNISED: "the DICOM header names an unrecognised body part",
    Caution.PHANTOM_MODEL: "the model was trained on phantoms, and its answer says nothing "
    "about a person",
    Caution.NOT_A_PHANTOM: "not a phantom, but the model was trained on phantoms",
}


@dataclass(frozen=True)
class Checks:
    """What is checked for each scored image; plain values, since it is sent to the workers.

    Attributes:
        views: of the training images; empty: unknown, so no view is cautioned.
        phantom_model: the model was trained on phantoms.
        distances: file with the statistics of the training images, readable by every worker;
            ``None``: the bundle has none.
        fence: of the distances; images beyond it are unlike the training images.
    """

    views: tuple[str, ...] = ()
    phantom_model: bool = False
    distances: str | None = None
    fence: float | None = None

    def opened(self) -> FeatureDistance | None:
        """The statistics, read once per process.

        Raises:
            PlatformError: the file is not cautions on this machine.
        """
        return None if self.distances is None else open_distance(self.distances)

    def cautions(self, facts: Mapping[str, Any], distance: float | None) -> list[str]:
        """The cautions that apply to an image, as values of :class:`Caution`.

        Args:
            facts: ``view``, ``view_measured``, ``view_guess``, ``body_part`` and ``phantom``, as
                far as they are known; see :func:`facts_of` and ``data.ingest.rows.facts_row``.
            distance: from the training images; ``None``: not assessable.
        """
        cautions = []
        if distance is not None and self.fence is not None and not distance <= self.fence:
            cautions.append(Caution.UNLIKE_TRAINING_IMAGES)
        if (view := self._view_caution(facts)) is not None:
            cautions.append(view)
        if facts.get("body_part") == BodyPart.OTHER:
            cautions.append(Caution.OTHER_BODY_PART)
        if facts.get("body_part") == BodyPart.UNRECOGNISED:
            cautions.append(Caution.BODY_PART_UNRECOGNISED)
        if self.phantom_model:
            cautions.append(Caution.PHANTOM_MODEL)
            if not facts.get("phantom"):
                cautions.append(Caution.NOT_A_PHANTOM)
        return [caution.value for caution in cautions]

    def _view_caution(self, facts: Mapping[str, Any]) -> Caution | None:
        view, guessed = facts.get("view") or View.UNKNOWN, bool(facts.get("view_measured"))
        if view == View.UNKNOWN and facts.get("view_guess"):
            view, guessed = facts["view_guess"], True
        if not self.views or view == View.UNKNOWN or view in self.views:
            return None
        frontal = view in FRONTAL_VIEWS and FRONTAL_VIEWS & set(self.views)
        if frontal and (view == View.FRONTAL or View.FRONTAL in self.views):
            return None  # both frontal, but AP or PA is unknown on one side
        return Caution.OTHER_VIEW_GUESSED if guessed else Caution.OTHER_VIEW


NO_CHECKS = Checks()
"""for a model about which nothing is known"""


def facts_of(image: StandardImage) -> dict[str, Any]:
    """What :meth:`Checks.cautions` takes, for a file without metadata from a source."""
    header = image.header
    return {
        "view": header.view.value if header else View.UNKNOWN.value,
        "view_guess": image.view.value if image.view else None,
        "body_part": header.body_part.value if header else None,
        "phantom": image.phantom,
    }


def sentence(caution: str, distance: float | None = None, fence: float | None = None) -> str:
    """A caution as a readable sentence.

    Args:
        caution: a value of :class:`Caution`.
        distance: of the image; shown with the fence where the caution depends on it.
        fence: of the model.
    """
    text = _SENTENCES[Caution(caution)]
    if caution == Caution.UNLIKE_TRAINING_IMAGES and distance is not None and fence is not None:
        return f"{text} (distance {distance:.3g}, fence {fence:.3g})"
    return text
