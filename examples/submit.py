"""Entry point for ``spark-submit``: ``spark-submit --master yarn submit.py run my.toml``."""

from pulmospark.__main__ import main

if __name__ == "__main__":
    main()
