"""The script that runs coacd, in a process that can be killed. Started by path: it imports nothing of this package.

coacd is C++ without a time limit or a way to stop it, and its search can take minutes on a jagged mesh.
"""

import sys

import coacd
import numpy as np

# Concavity that stays, relative to the size, and how hard the search for cuts is: about a third of the effort of
# coacd's defaults (0.05, 150, 3, 2000), which on lumpy meshes takes minutes; the hulls together come out as tight.
_CONCAVITY, _ITERATIONS, _DEPTH, _SAMPLES = 0.06, 30, 2, 500


def main(source: str, target: str) -> None:
    """Cut `vertices`, `faces` of one npz file into at most `most` parts; their vertices go to another as `0`, `1`..."""
    given = np.load(source)
    coacd.set_log_level("error")
    parts = coacd.run_coacd(
        coacd.Mesh(given["vertices"], given["faces"]),
        threshold=_CONCAVITY,
        max_convex_hull=int(given["most"]),
        mcts_iterations=_ITERATIONS,
        mcts_max_depth=_DEPTH,
        resolution=_SAMPLES,
        preprocess_mode="off",  # what comes is closed
        seed=0,
    )
    np.savez(target, **{str(number): vertices for number, (vertices, _) in enumerate(parts)})


if __name__ == "__main__":
    main(*sys.argv[1:])
