"""Pairs of near perceptual hashes, joined on Spark without comparing all with all.

Multi-index hashing (Norouzi, Punjani and Fleet, "Fast search in Hamming space with multi-index
hashing", 2012): 64 bits are four bands of 16. Where two hashes differ in at most 7 bits, one
band differs in at most one (pigeonhole). So each hash is put down under its four bands, and the
hash of each whole film is looked up under each band as it is and with any one bit turned: an
equi-join, whose few matches are then counted bit by bit. None within 7 bits is missed; of those
further apart most are found (88 % at 9 bits, where the bits that differ are spread evenly). Up
to 3 bits no bit need be turned.

**Hot buckets.** Thousands of films may share a band (all that are nearly black, say); their
pairs would grow with the square. In a bucket with more than ``BUCKET_HASHES_MAX`` hashes the
next band has to be the same, too; what is still too full is left out, and told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by

from pulmospark.core import limits

BANDS, BITS = 4, 16
_PLACE = ("band", "key", "extra")


@dataclass(frozen=True)
class Near:
    """Pairs whose hashes are near.

    Attributes:
        pairs: ``first`` < ``second`` (long) and ``distance`` (int), each pair once.
        hot: ``band``, ``key``, ``extra`` and ``count`` of the buckets that were left out.
    """

    pairs: DataFrame
    hot: DataFrame


def near_hashes(films: DataFrame, distance: int) -> Near:
    """Pairs of films that have hashes within a distance.

    A film's first hash is of the whole picture; of two hashes that are compared, one is that.

    Args:
        films: ``film`` (long) and ``hashes`` (array of long).
        distance: bits of 64, at most ``limits.NEAR_DISTANCE_MAX``.

    Returns:
        The pairs, lazily.
    """
    each = films.select("film", F.posexplode("hashes").alias("crop", "hash"))
    index = each.select("*", F.posexplode(F.array(*_bands("hash"))).alias("band", "key"))
    full = limits.BUCKET_HASHES_MAX
    crowded = index.groupBy("band", "key").count().where(F.col("count") > full).drop("count")
    index = _placed(index, crowded)
    hot = index.groupBy(*_PLACE).count().where(F.col("count") > full)
    index = index.join(F.broadcast(hot.drop("count")), [*_PLACE], "left_anti")
    wholes = each.where("crop = 0").select(
        "film", "hash", F.posexplode(F.array(*_bands("hash"))).alias("band", "key")
    )
    looked_up = _placed(wholes.withColumn("key", F.explode(_probes("key", distance))), crowded)
    one = looked_up.select(*_PLACE, F.col("film").alias("one"), F.col("hash").alias("one_hash"))
    other = index.select(
        *_PLACE, F.col("film").alias("other"), F.col("hash").alias("other_hash"), "crop"
    )
    bits = F.bit_count(F.col("one_hash").bitwiseXOR(F.col("other_hash")))
    # Of two wholes each is looked up: one of the two finds is enough.
    once = (F.col("one") < F.col("other")) | (
        (F.col("crop") > 0) & (F.col("one") != F.col("other"))
    )
    found = one.join(other, [*_PLACE]).where(once & (bits <= distance))
    pairs = (
        found.select(
            F.least("one", "other").alias("first"),
            F.greatest("one", "other").alias("second"),
            bits.cast("int").alias("distance"),
        )
        .groupBy("first", "second")
        .agg(F.min("distance").alias("distance"))
    )
    return Near(pairs, hot)


def _placed(rows: DataFrame, crowded: DataFrame) -> DataFrame:
    """Rows with ``extra``: in a crowded bucket the next band of the hash, elsewhere -1."""
    marked = F.broadcast(crowded.withColumn("crowded", F.lit(True)))
    after = F.array(*_bands("hash"))[(F.col("band") + 1) % BANDS]
    extra = F.when(F.col("crowded"), after).otherwise(F.lit(-1))
    return rows.join(marked, ["band", "key"], "left").withColumn("extra", extra).drop("crowded")


def _bands(column: str) -> Iterator[Column]:
    for band in range(BANDS):
        moved = F.shiftrightunsigned(column, band * BITS)
        yield moved.bitwiseAND(F.lit(2**BITS - 1)).cast("int")


def _probes(key: str, distance: int) -> Column:
    """The key, and where the distance asks for it the key with each bit turned."""
    turned = [F.col(key).bitwiseXOR(F.lit(1 << bit)) for bit in range(BITS)]
    return F.array(F.col(key), *(turned if distance >= BANDS else []))
