"""One file a data-set layout, and the recognition of which layout a folder has."""
