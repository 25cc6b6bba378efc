"""Random augmentation of films, recorded so that it can be reproduced."""
