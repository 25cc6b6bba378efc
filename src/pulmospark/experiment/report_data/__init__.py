"""Report data: what the report shows, collected from what the stages left.

Imports the stages' modules of experiment, never the pipeline.
The pipeline imports it.
"""
