"""Export of runs to MLflow and TensorBoard; both need the extra ``tracking``."""
