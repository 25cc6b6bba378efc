"""One file per data set or kind of folder, listed in ``layouts.registry``.

Imports ``layouts.parsing`` and ``layouts.base``.
Only the registry imports it.
"""
