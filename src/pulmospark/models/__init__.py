"""Networks, their weights, and the bundle a trained model is kept in."""
