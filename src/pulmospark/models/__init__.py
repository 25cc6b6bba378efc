"""Networks, their weights, and the bundle that a trained model is saved in.

Imports config and core.
Inference, training and all packages above them may import it.
"""
