"""Random changes of an image: one class a file, under the name that settings and records use.

`registry` lists them in the order of application. Needs only `config` and `core`.
"""
