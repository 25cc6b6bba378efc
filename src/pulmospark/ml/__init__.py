"""Faces for Spark ML: ImageFeaturizer, CnnClassifier, CnnClassifierModel."""
