"""Tables from files, and tables from tables: ingest, near duplicates, cohort, expansion.

Imports Spark, layouts, imaging and what is below them.
Models, inference and all packages above them may import it.
"""
