"""The names that threestudio imports from libigl, which has renamed them since."""


def _unused(*_: object) -> None:
    raise NotImplementedError("only for meshes read from files")


fast_winding_number_for_meshes = point_mesh_squared_distance = read_obj = _unused
