"""From bytes to the standard image: sniff, decode, standardise, view.

Needs neither Spark nor torch.
Layouts, data and all packages above them may import it.
"""
