"""How to install optional parts: from the checkout, because no package index has pulmospark.

``pip install pulmospark`` would install whatever somebody else may have put there.
"""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """The command that installs an optional extra.

    Args:
        extra: its name in ``pyproject.toml``.
    """
    return f"run pip install --constraint constraints.txt '.[{extra}]' in pulmospark's checkout"
