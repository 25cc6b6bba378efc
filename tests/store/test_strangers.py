"""A prediction by executors that share nothing with the driver but a store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import write_untrained
from cluster.small import write_pictures
from pulmospark.inference.batch.predict import predict
from pulmospark.store.folders import put_files
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri
from store.strangers import SKIPPED, Strangers, command, strangers

pytestmark = [pytest.mark.spark, SKIPPED]

_EACH = 12


@pytest.fixture
def cluster(bucket: StoreUri, tmp_path: Path) -> Iterator[Strangers]:
    """A cluster; the driver alone sees a picture set and a bundle."""
    del bucket  # its environment is the workers'
    write_pictures(tmp_path / "driver/images", _EACH)
    write_untrained(tmp_path / "driver/bundle")
    with strangers(tmp_path) as cluster:
        yield cluster


def test_predictions_are_those_of_one_process(
    cluster: Strangers, bucket: StoreUri, s3_endpoint: str, tmp_path: Path
) -> None:
    driver = cluster.driver
    put_files(driver / "images", bucket / "in")
    put_files(driver / "bundle", bucket / "bundle")
    done = command(cluster, "predict", f"{bucket}bundle", f"{bucket}in", "--out", f"{bucket}out")
    assert done.returncode == 0, done.stderr[-3000:]

    expected = predict(driver / "bundle", [str(driver / "images")], tmp_path / "here", None)
    assert (expected.images, expected.rejects) == (2 * _EACH, 1)
    options = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_ALLOW_HTTP": "true"}
    for name in ("predictions", "rejects"):
        found = deltalake.DeltaTable(f"{bucket}out/{name}", storage_options=options)
        rows = pa.table(found.to_pyarrow_table()).to_pylist()
        here = pq.read_table(tmp_path / "here" / name).to_pylist()
        names = {row["uri"].rpartition("/in/")[2]: row for row in rows}
        same = {row["uri"].rpartition("/images/")[2]: row for row in here}
        assert names.keys() == same.keys()
        assert len(rows) == len(here)
        for key, row in names.items():
            for column in ("image_id", "reason", "prediction", "label"):
                assert row.get(column) == same[key].get(column)
            chances = same[key].get("probability")
            assert row.get("probability") == pytest.approx(chances, abs=1e-6)
    left = [each.uri.key for each in open_store(bucket).list("out/")]
    assert not [key for key in left if "_work" in key]
    csv = open_store(bucket).get("out/predictions.csv").decode().splitlines()
    assert len(csv) == 1 + 2 * _EACH

    # What only the driver sees is refused before the work, with the machine's name.
    images = str(driver / "images")
    refused = command(cluster, "predict", f"{bucket}bundle", images, "--out", f"{bucket}other")
    assert refused.returncode == 4
    (line,) = refused.stderr.strip().splitlines()
    assert f"{images}: the folder is empty" in line or f"{images}: No such file" in line
