"""Found by PySpark, which looks for modules of this name: ``spark.read.format("pulmospark")``."""

from pulmospark.spark.data_source import PulmosparkTables as DefaultSource

__all__ = ["DefaultSource"]
