import numpy as np

from dreamdist3d.mesh.texture.raster import covered_texels, overlapping_faces, rasterise, with_rim


def random_triangles(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    uv = np.random.default_rng(0).random((3 * count, 2))
    return uv, np.arange(3 * count).reshape(-1, 3)


def test_coverage_is_that_of_a_test_of_every_texel():
    uv, faces = random_triangles()
    size = 32
    centre = (np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).reshape(-1, 2) + 0.5) / size
    expected = set()
    for number, (a, b, c) in enumerate(uv[faces]):
        system = np.array([[*a, 1], [*b, 1], [*c, 1]]).T
        inside = (np.linalg.solve(system, np.c_[centre, np.ones(len(centre))].T) >= 0).all(axis=0)
        expected |= {(int(index), number) for index in inside.nonzero()[0]}
    found = rasterise(uv, faces, size)
    assert set(zip(found.index.tolist(), found.face.tolist(), strict=True)) == expected
    np.testing.assert_allclose(found.interpolate(uv, faces), centre[found.index], atol=1e-9)


def test_a_quad_covers_each_texel_once_and_its_rim_goes_on_in_its_plane():
    uv = np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    covered = covered_texels(uv, faces, 64)
    assert len(covered.index) == 32 * 32 == covered.mask(64).sum()
    assert len(overlapping_faces(uv, faces, 64)) == 0
    rim = with_rim(covered, uv, faces, 64, reach=1.5)
    assert len(rim.index) == 34 * 34  # one more on each side, corners too
    centres = (np.stack([rim.index % 64, rim.index // 64], axis=1) + 0.5) / 64
    np.testing.assert_allclose(rim.interpolate(uv, faces), centres, atol=1e-12)


def test_triangles_without_area_cover_nothing():
    uv = np.array([[0.1, 0.1], [0.9, 0.9], [0.5, 0.5], [0.1, 0.1]])
    assert len(rasterise(uv, np.array([[0, 1, 2], [0, 0, 3], [0, 0, 0]]), 64).index) == 0


def test_overlap_is_found():
    uv = np.array(
        [[0.1, 0.1], [0.6, 0.1], [0.1, 0.6], [0.2, 0.2], [0.7, 0.2], [0.2, 0.7], [0.8, 0.8], [0.9, 0.8], [0.8, 0.9]]
    )
    faces = np.arange(9).reshape(-1, 3)
    assert overlapping_faces(uv, faces, 64).tolist() == [0, 1]


def test_many_triangles_come_in_bounded_chunks(monkeypatch):
    uv, faces = random_triangles()
    whole = rasterise(uv, faces, 64)
    monkeypatch.setattr("dreamdist3d.mesh.texture.raster._PAIRS", 1000)
    parts = rasterise(uv, faces, 64)
    np.testing.assert_array_equal(whole.index, parts.index)
    np.testing.assert_array_equal(whole.face, parts.face)
