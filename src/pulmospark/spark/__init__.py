"""The Spark session, and work handed to the executors chunk by chunk."""
