"""Sheets, headers, lists and spellings: what several data sets are read with.

Imports ``layouts.base``, ``walk`` and ``notes``, and no data set.
Data sets and the lists of ``predict`` may import it.
"""
