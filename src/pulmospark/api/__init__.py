"""The front door in Python: what ``import pulmospark as ps`` gives, one file a noun.

Each function is thin over those that the command line calls. Errors are those of
:mod:`pulmospark.core.errors`, each one line.
"""
