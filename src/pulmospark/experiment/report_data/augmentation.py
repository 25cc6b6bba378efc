"""The augmentation that a training used, for its report."""

from __future__ import annotations

from pulmospark.augment.describe import active_transforms
from pulmospark.config.augment import AugmentSettings
from pulmospark.config.expand import ExpandSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.parse import parse
from pulmospark.core import files
from pulmospark.data.expand.table import RECORD, read_expanded
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.report import content as page
from pulmospark.training.augmented_images import expanded_of


def augmentations(experiment: Experiment, run: RunFolder) -> tuple[page.Augmentation, ...]:
    """The augmentations of a training, from its tables and settings.

    Args:
        experiment: the settings.
        run: folder of the run.

    Raises:
        InputError: the expanded table that was trained on is missing.
    """
    used = []
    settings = experiment.train
    if (expanded := expanded_of(settings, run.tables)) is not None:
        result = read_expanded(expanded)
        # As the table was made: `pulmospark expand` may have had other settings.
        record = files.read_json(expanded / RECORD)["provenance"]["settings"]
        expansion = parse(ExpandSettings, record, where=str(expanded / RECORD))
        used.append(
            page.Augmentation(
                how="augmented copies of the training images, made before training",
                rows_per_class=result.per_class,
                images=result.images,
                copies=result.copies,
                classes=tuple(
                    page.ExpandedClass(
                        name=row.label,
                        images=row.images,
                        copies=row.copies,
                        copies_per_image=row.copies_per_image,
                    )
                    for row in result.classes
                ),
                operations=_operations(expansion.augment),
            )
        )
    if settings.augment is not None:
        used.append(
            page.Augmentation(
                how="each training image randomly augmented in each epoch",
                operations=_operations(settings.augment),
            )
        )
    return tuple(used)


def _operations(settings: AugmentSettings) -> tuple[page.Operation, ...]:
    return tuple(
        page.Operation(
            name=operation.name.replace("_", " "),
            probability=operation.probability,
            reach=operation.strength,
        )
        for operation in active_transforms(settings)
    )
