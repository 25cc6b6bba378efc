"""The routes, one file per resource; each is thin over :mod:`pulmospark.serve.service`."""
