"""How to install what pulmospark does without: from its checkout, for it is on no package index.

``pip install pulmospark`` would install whatever somebody else may have put there.
"""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """The command that installs an optional part.

    Args:
        extra: its name in ``pyproject.toml``.
    """
    return f"run pip install --constraint constraints.txt '.[{extra}]' in pulmospark's checkout"
