"""DICOM: header, transfer syntaxes, pixel data, and the way to 8-bit grey.

Imports no part of imaging above it: decode, read_file and image call it.
Other packages use ``reader``; layouts may import ``header`` and ``dicomdir``, too.
"""
