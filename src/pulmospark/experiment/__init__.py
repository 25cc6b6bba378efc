"""The experiment: its stages in their order, and the run folder that they share.

Imports all packages but the command line.
The command line and the front door may import it.
"""
