"""``python -m pulmospark`` is the command line."""

from pulmospark.cli.main import main

if __name__ == "__main__":
    main()
