"""The available networks, without building one; does not import torch.

A new one is one more :class:`~pulmospark.models.zoo.entry.ZooEntry` in ``torchvision_entries`` or
``paper_entries``. Any other classifier of torchvision and timm is available as
``torchvision:NAME`` and ``timm:NAME``.
"""

from __future__ import annotations

from types import MappingProxyType

from pulmospark.core.errors import UsageError
from pulmospark.core.suggestions import did_you_mean
from pulmospark.models.zoo.entry import ZooEntry, flat_entry
from pulmospark.models.zoo.paper_entries import PAPER_ENTRIES
from pulmospark.models.zoo.torchvision_entries import TORCHVISION_ENTRIES

ZOO = MappingProxyType({entry.name: entry for entry in (*TORCHVISION_ENTRIES, *PAPER_ENTRIES)})
"""name -> :class:`ZooEntry`"""

FLATTENED = MappingProxyType(
    {flat.name: flat for entry in ZOO.values() if (flat := flat_entry(entry)) is not None}
)
"""name -> the variants whose deep features are the last convolutional map, flattened"""

LIBRARIES = ("torchvision", "timm")
"""libraries of which any classifier may be named: ``torchvision:convnext_tiny``"""


def entry(name: str) -> ZooEntry:
    """The entry of a network.

    Raises:
        UsageError: the network is unknown.
        PlatformError: its library is not installed.
    """
    known = ZOO.get(name) or FLATTENED.get(name)
    if known is not None:
        return known
    library, colon, within = name.partition(":")
    if colon and library in LIBRARIES:
        # Inside: it imports torch and the library.
        from pulmospark.models.zoo.library_entries import library_entry  # noqa: PLC0415

        return library_entry(library, within)
    raise UsageError(
        f"model {name!r}: not in the zoo{did_you_mean(name, [*ZOO, *FLATTENED])}; "
        f"choose one of {', '.join(ZOO)}, a variant "
        f"NAME_flattened, or any classifier of a library as "
        + " or ".join(f"{library}:NAME" for library in LIBRARIES)
    )


def check_size(name: str, size: int) -> None:
    """Check that a network accepts images of this side.

    Raises:
        UsageError: it does not accept that side, in pixels.
    """
    known = entry(name)
    if known.max_size is not None and not known.min_size <= size <= known.max_size:
        raise UsageError(
            f"{name}: size {size}, but it only accepts {known.max_size} pixels: "
            f"--set ingest.size={known.max_size}"
        )
    if size < known.min_size:
        raise UsageError(f"{name}: size {size} is under its minimum of {known.min_size} pixels")
