"""One small surface over object stores: S3, Azure, Google Cloud.

`uri` reads addresses, `store` lists, reads and writes objects, `credentials` finds keys where each
cloud's own tools look for them. May import `core`; every package above `config` may import it.
"""
