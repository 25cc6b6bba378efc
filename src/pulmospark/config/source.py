"""Settings of a source: one data set, its layout and its options."""

from __future__ import annotations

from pydantic import Field, field_validator

from pulmospark.config.base import Settings
from pulmospark.core.errors import UsageError
from pulmospark.core.store_uri import PlacePath, place_text


class SourceSettings(Settings):
    """One data set.

    Example:
        >>> source = ps.SourceSettings(path="images.csv", options={"label_column": "finding"})
        >>> source.options["label_column"]
        'finding'
    """

    path: PlacePath
    """folder of the data set, or the CSV file of a ``csv`` layout, which may lie in a store"""
    layout: str | None = None
    """name of the layout; ``None``: recognised from the folder"""
    name: str | None = None
    """name of the data set in the tables; ``None``: the layout's, or the folder's"""
    options: dict[str, str] = Field(default_factory=dict)
    """options of the layout, such as ``path_column`` and ``label_column`` of a CSV"""

    @field_validator("options")
    @classmethod
    def _local(cls, value: dict[str, str]) -> dict[str, str]:
        """Some options are folders, such as ``root`` of a CSV; no other looks like an address."""
        try:
            return {name: place_text(text) for name, text in value.items()}
        except UsageError as error:
            raise ValueError(error.message) from error
