"""Published tables as Delta tables: open one, append a version to it, look after it.

Imports ``store``, ``config`` and ``core``. The rooms that publish tables may import it, and so
may the Spark data source.
"""
