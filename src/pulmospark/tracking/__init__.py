"""Runs written where MLflow and TensorBoard read them; both come with the extra ``tracking``."""
