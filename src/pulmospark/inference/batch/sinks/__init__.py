"""Forms in which a prediction's results are written: one class a file.

Imports ``core`` and the other parts of batch that publishing needs.
``inference.batch.publish`` may import it.
"""
