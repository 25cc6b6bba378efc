"""Published experiments: their settings, and runs that reproduce them.

Imports the pipeline.
The command line and the front door may import it.
"""
