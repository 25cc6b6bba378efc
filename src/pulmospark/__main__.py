"""The command line's start, by its name and as ``python -m pulmospark``."""

from __future__ import annotations

from pulmospark.core.python_path import guard_children, leave_current_folder


def main() -> None:
    """Leave the current folder, which may be a stranger's, and only then import the rest."""
    leave_current_folder()
    guard_children()
    from pulmospark.cli.main import main as run  # noqa: PLC0415 - see above

    run()


if __name__ == "__main__":
    main()
