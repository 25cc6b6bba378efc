"""Distances of images from others: the measure and the fence."""

from __future__ import annotations

import numpy as np

from pulmospark.audit.feature_distances import distances, fence


def test_images_of_the_same_patient_are_no_neighbours() -> None:
    images = (np.random.default_rng(1).normal(0, 0.2, (30, 12)) + 1).astype(np.float32)
    alone = distances(images, images, np.arange(30))
    assert (alone > distances(images, images)).all()  # each image would be its own nearest
    without = [distances(images[[n]], np.delete(images, n, axis=0))[0] for n in range(30)]
    np.testing.assert_allclose(alone, without, rtol=1e-5)


def test_the_fence_is_tukeys_outer_one() -> None:
    assert fence(np.asarray([0.0, 1.0, 2.0, 3.0, 4.0])) == 3.0 + 3 * 2.0
