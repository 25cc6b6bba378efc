"""The experiment: the stages in their order, and the folder they share."""
