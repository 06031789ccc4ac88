"""The script that runs xatlas, in a process that can be killed. Started by path: it imports nothing of this package.

xatlas is C++ without a time limit or a way to stop it, and now and then a mesh keeps it busy for hours.
"""

import sys

import numpy as np
import xatlas


def main(source: str, target: str) -> None:
    """Unwrap `vertices`, `normals`, `faces` of one npz file; `index`, `faces`, `texels` go to another."""
    given = np.load(source)
    atlas = xatlas.Atlas()
    atlas.add_mesh(given["vertices"], given["faces"], given["normals"])
    charts = xatlas.ChartOptions()
    # Fewer, larger charts than the default of 2: borders cost triangles in lower levels and texels in padding.
    charts.max_cost = 8.0
    charts.fix_winding = True
    pack = xatlas.PackOptions()
    # Trying every place costs seconds at full resolution and hardly anything at half of it.
    pack.bruteForce = True
    pack.resolution, pack.padding = int(given["size"]) // 2, -(-int(given["padding"]) // 2)
    atlas.generate(charts, pack)
    index, faces, uv = atlas[0]
    place = 2 * uv * np.array([atlas.width, atlas.height])
    np.savez(target, index=index, faces=faces, texels=place, atlases=atlas.atlas_count)


if __name__ == "__main__":
    main(*sys.argv[1:])
