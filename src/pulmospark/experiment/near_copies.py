"""The search for near copies that split makes and the audit reuses, on a run's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulmospark.data.duplicates.near_duplicates import NearCopies, find_near_copies

if TYPE_CHECKING:
    import pyarrow as pa

    from pulmospark.chunks import Executor
    from pulmospark.config.experiment import Experiment
    from pulmospark.data.cohort.split import Search
    from pulmospark.experiment.run_folder import RunFolder

WORK = ".audit.work"
"""folder in the run for what the search found"""


def near_copy_search(
    experiment: Experiment, run: RunFolder, executor: Executor, *, quiet: bool = False
) -> Search:
    """The search for near copies that a run's split makes and its audit reuses.

    Args:
        experiment: the settings.
        run: its folder; ingest must have finished there.
        executor: runs the tasks.
        quiet: show no progress.
    """
    audit = experiment.audit

    def search(facts: pa.Table) -> NearCopies:
        return find_near_copies(
            run.tables / "images",
            facts,
            run.root / WORK,
            executor,
            distance=audit.hash_distance,
            correlation=audit.copy_correlation,
            pairs_max=audit.pairs_max,
            quiet=quiet,
        )

    return search
