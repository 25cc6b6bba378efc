"""The S3 server of the tests of stores."""

from store.conftest import bucket, s3_endpoint

__all__ = ["bucket", "s3_endpoint"]
