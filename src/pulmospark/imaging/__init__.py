"""From bytes to the standard image: sniff, decode, standardise, view."""
