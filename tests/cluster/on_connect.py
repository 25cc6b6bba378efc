"""What Spark Connect cannot do, and what it tells; ``test_cluster`` runs this."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pulmospark.core.errors import UsageError
from pulmospark.core.progress import Progress
from pulmospark.models.zoo import networks
from pulmospark.spark.session import is_connect, slots
from pulmospark.training.distributed import train_network
from training.toys import CLASSES, toy_plan


def test_slots_are_the_server_s(spark: SparkSession) -> None:
    assert is_connect(spark)
    assert slots(spark) == 2


def test_a_network_is_not_trained_and_that_is_said(spark: SparkSession, tmp_path: Path) -> None:
    plan = toy_plan(tmp_path)
    network = networks.build(plan.model, len(CLASSES))
    with pytest.raises(UsageError, match=r"Spark Connect cannot train.*train\.method=features"):
        train_network(network, plan, spark, processes=1, progress=Progress("", 0, quiet=True))
