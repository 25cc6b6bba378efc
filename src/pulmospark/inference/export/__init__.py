"""Export: a bundle as one ONNX or OpenVINO file, checked against the bundle.

Imports ``inference.batch`` and what is below it.
Packages above inference may import it.
"""
