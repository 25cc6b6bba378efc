"""The service: REST and a page over one bundle, with one queue and one ledger.

``pulmospark serve`` starts it; :func:`pulmospark.serve.app.create_app` gives the ASGI application.
FastAPI, uvicorn and python-multipart are an extra: only ``cli.serve`` and tests import this
package.
"""
