"""Read the tables of a run without Spark: ``python examples/read_tables.py runs/mine``.

Tables are folders of Parquet files; pandas, Polars, DuckDB, R and Spark read them too. Columns
are explained in docs/reference/tables.md. Only the requested columns are read: omit ``pixels``
unless you need them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq


def main(run: Path) -> None:
    """Show the tables of a run.

    Args:
        run: its folder.
    """
    images = pd.read_parquet(run / "tables" / "images", columns=["source", "view", "uri"])
    print("images by source and view:", images.groupby(["source", "view"]).size(), sep="\n")

    rejects = pd.read_parquet(run / "tables" / "rejects")
    print("rejected files:", rejects["reason"].value_counts(), sep="\n")

    cohort = pd.read_parquet(run / "cohort" / "table")
    print("split:", pd.crosstab(cohort["label"], cohort["split"]), sep="\n")
    print("excluded:", cohort["reason"].value_counts(), sep="\n")

    predictions = pd.read_parquet(run / "evaluation" / "predictions")
    print("truth and prediction:", sep="\n")
    print(pd.crosstab(predictions["label"], predictions["prediction"]))

    record = json.loads((run / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    accuracy = record["evaluation"]["accuracy"]
    print(f"accuracy {accuracy['value']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f})")

    part = next((run / "tables" / "images").glob("*.parquet"))
    flat = np.frombuffer(pq.read_table(part, columns=["pixels"])["pixels"][0].as_py(), np.uint8)
    side = int(flat.size**0.5)
    image = flat.reshape(side, side)
    print(
        f"the first image: {image.shape[0]} x {image.shape[1]}, mean grey level {image.mean():.1f}"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python read_tables.py RUN_FOLDER")
    main(Path(sys.argv[1]))
