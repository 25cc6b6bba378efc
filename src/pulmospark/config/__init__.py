"""All settings models, one file per area; the same models read TOML, options and JSON.

Imports core alone, and neither Spark, torch nor pydicom.
Any package but core may import it.
"""
