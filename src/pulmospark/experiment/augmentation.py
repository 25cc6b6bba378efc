"""Which augmentation a training saw, for its report."""

from __future__ import annotations

from pulmospark.augment.telling import told_operations
from pulmospark.core import files
from pulmospark.core.settings import AugmentSettings, ExpandSettings, Experiment, parse
from pulmospark.data.expanded import RECORD, read_expanded
from pulmospark.experiment.folder import RunFolder
from pulmospark.report import content as page
from pulmospark.training.augmenting import expanded_of


def augmentations(experiment: Experiment, run: RunFolder) -> tuple[page.Augmentation, ...]:
    """The augmentations of a training, as its tables and settings have them.

    Args:
        experiment: the settings.
        run: folder of the run.

    Raises:
        InputError: the expanded table that was trained on is gone.
    """
    found = []
    settings = experiment.train
    if (expanded := expanded_of(settings, run.tables)) is not None:
        result = read_expanded(expanded)
        # As the table was made: `pulmospark expand` may have been told otherwise.
        told = files.read_json(expanded / RECORD)["provenance"]["settings"]
        made = parse(ExpandSettings, told, where=str(expanded / RECORD))
        found.append(
            page.Augmentation(
                how="children of the training films, made before the training",
                rows_per_class=result.per_class,
                films=result.films,
                children=result.children,
                classes=tuple(
                    page.ExpandedClass(
                        name=one.label,
                        films=one.films,
                        children=one.children,
                        children_of_a_film=one.children_of_a_film,
                    )
                    for one in result.classes
                ),
                operations=_operations(made.augment),
            )
        )
    if settings.augment is not None:
        found.append(
            page.Augmentation(
                how="each training film changed anew in each epoch",
                operations=_operations(settings.augment),
            )
        )
    return tuple(found)


def _operations(settings: AugmentSettings) -> tuple[page.Operation, ...]:
    return tuple(
        page.Operation(
            name=one.name.value.replace("_", " "), probability=one.probability, reach=one.reach
        )
        for one in told_operations(settings)
    )
