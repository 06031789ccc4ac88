"""An order of assets in which those that look alike stand side by side."""

from collections.abc import Sequence

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform


def likeness_order(matrix: Sequence[Sequence[float]]) -> list[int]:
    """The leaves of an average-linkage tree of [A][A] similarities, ordered for like neighbours.

    Example:
        >>> likeness_order([[1.0, 0.0, 0.9], [0.0, 1.0, 0.1], [0.9, 0.1, 1.0]])
        [0, 2, 1]
    """
    if len(matrix) < 3:
        return list(range(len(matrix)))
    distance = np.clip(1.0 - np.asarray(matrix, dtype=float), 0.0, None)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform((distance + distance.T) / 2), "average", optimal_ordering=True)
    order = leaves_list(tree).tolist()
    return order if order[0] <= order[-1] else order[::-1]
