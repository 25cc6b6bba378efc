"""Training: logistic regression on deep features, and CNNs through TorchDistributor."""
