"""Numerical precision: bfloat16 and int8, used only where a check against float32 passes.

Imports ``inference.engine``.
Batch, stream and plan may import it.
"""
