"""Random augmentation of images, recorded so that it can be reproduced."""
