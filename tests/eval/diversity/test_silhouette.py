import numpy as np
import pytest
import torch

from dreamdist3d.eval.diversity import silhouette_distances


def test_equals_counting_pixels():
    masks = torch.rand(4, 3, 9, 7, generator=torch.Generator().manual_seed(0)) > 0.6
    distances = silhouette_distances(masks)
    for a, first in enumerate(masks.numpy()):
        for b, second in enumerate(masks.numpy()):
            overlaps = [np.sum(x & y) / np.sum(x | y) for x, y in zip(first, second, strict=True)]
            assert float(distances[a, b]) == pytest.approx(1 - np.mean(overlaps), abs=1e-12)


def test_extremes():
    left, empty = torch.zeros(1, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.bool)
    left[:, :, :2] = True
    distances = silhouette_distances(torch.stack([left, ~left, empty, empty]))
    assert distances[0, 1] == 1 and distances[0, 2] == 1 and distances[2, 3] == 0


def test_pictures_without_views_are_refused():
    with pytest.raises(ValueError, match=r"\[A, V, H, W\]"):
        silhouette_distances(torch.ones(2, 4, 4, dtype=torch.bool))
