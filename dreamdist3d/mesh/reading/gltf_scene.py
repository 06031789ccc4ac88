"""The scene of a glTF file as painted parts, each where its node places it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.reading.common import Notes, check_count, counted, shown
from dreamdist3d.mesh.reading.gltf import FOLLOWED, NAMED, GltfFile
from dreamdist3d.mesh.reading.gltf_paint import PaintReader

_DRACO = "KHR_draco_mesh_compression"
_INSTANCES = "EXT_mesh_gpu_instancing"
_MODES = {0: "points", 1: "lines", 2: "lines", 3: "lines"}


def read_gltf(path: Path, notes: Notes) -> list[Painted]:
    """The triangles of the default scene (without one, of all root nodes), in the file's axes.

    Skinned meshes stand as the joints do, their own node's transform ignored, and morph targets at the weights of the
    file: the picture that every viewer shows before an animation begins.

    Raises:
        UserError: broken, or needing what is not followed; without the file's name.
    """
    return _Scene(GltfFile(path, notes), notes).parts()


class _Scene:
    def __init__(self, file: GltfFile, notes: Notes) -> None:
        self._file, self._notes, self._paint = file, notes, PaintReader(file)
        self._primitives: dict[tuple[int, int], tuple[dict[str, np.ndarray], np.ndarray] | None] = {}
        self._worlds: dict[int, np.ndarray] = {}

    def parts(self) -> list[Painted]:
        nodes = list(self._placed_nodes())
        self._worlds = dict(nodes)
        parts = []
        for index, world in nodes:
            node = self._file.entry("nodes", index)
            if "mesh" in node:
                parts += self._mesh(node, world)
        self._note_the_rest(nodes)
        return parts

    def _placed_nodes(self) -> Iterator[tuple[int, np.ndarray]]:
        """Every node of the scene with its transform [4, 4], depth first."""
        document = self._file.document
        scenes = document.get("scenes", [])
        if scenes:
            roots = self._file.entry("scenes", document.get("scene", 0)).get("nodes", [])
        else:
            children = {c for node in document.get("nodes", []) for c in node.get("children", [])}
            roots = [index for index in range(len(document.get("nodes", []))) if index not in children]
        waiting, seen = [(root, np.eye(4)) for root in reversed(roots)], set()
        while waiting:
            index, parent = waiting.pop()
            node = self._file.entry("nodes", index)
            if index in seen:
                raise UserError(f"node {index} has two parents, or is its own; export it again.")
            seen.add(index)
            world = parent @ _local(node)
            yield index, world
            waiting += [(child, world) for child in reversed(node.get("children", []))]

    def _mesh(self, node: dict[str, Any], world: np.ndarray) -> list[Painted]:
        mesh = self._file.entry("meshes", node["mesh"])
        weights = node.get("weights", mesh.get("weights", []))
        parts = []
        for number, primitive in enumerate(mesh.get("primitives", [])):
            read = self._primitive(node["mesh"], number, primitive)
            if read is None:
                continue
            attributes, faces = read
            count = len(attributes["POSITION"])
            points, normals = self._morphed(primitive, attributes, weights)
            paint = self._paint.paint(primitive, attributes, count)
            for points_here, normals_here, mirrored in self._placed(node, world, points, normals, attributes):
                turned = faces[:, ::-1] if mirrored else faces
                parts.append(Painted(points_here, turned, normals=normals_here, **paint))
        return parts

    def _primitive(
        self, mesh: int, number: int, primitive: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], np.ndarray] | None:
        """Attributes as floats and faces [F, 3]; None, with a note, where it has no triangles."""
        if (mesh, number) not in self._primitives:
            self._primitives[mesh, number] = self._read(mesh, number, primitive)
        return self._primitives[mesh, number]

    def _read(
        self, mesh: int, number: int, primitive: dict[str, Any]
    ) -> tuple[dict[str, np.ndarray], np.ndarray] | None:
        mode = primitive.get("mode", 4)
        if mode in _MODES:
            self._notes.add(f"mesh {mesh} holds {_MODES[mode]} beside or instead of triangles: they are left out.")
            return None
        names = primitive.get("attributes", {})
        if "POSITION" not in names:
            return None
        if _DRACO in primitive.get("extensions", {}):
            attributes, indices = self._draco(primitive)
        else:
            attributes = {name: self._file.array(index) for name, index in names.items() if name[0] != "_"}
            count = len(attributes["POSITION"])
            indices = self._file.array(primitive["indices"])[:, 0] if "indices" in primitive else np.arange(count)
        count = len(attributes["POSITION"])
        # Some exporters leave out "normalized"; colours are never integers of another meaning.
        if "COLOR_0" in attributes:
            attributes["COLOR_0"] = _unit_colors(attributes["COLOR_0"])
        used = {name: values for name, values in attributes.items() if len(values) == count}
        for name in attributes.keys() - used.keys():
            self._notes.add(f"mesh {mesh}: {shown(name)} has another length than the positions: left out.")
        faces = _triangles(indices.astype(np.int64), mode)
        if len(faces) and (faces.max() >= count or faces.min() < 0):
            raise UserError(f"mesh {mesh} names vertex {faces.max()} of {count}; export it again.")
        return {n: v if n.startswith("JOINTS") else v.astype(np.float64) for n, v in used.items()}, faces

    def _draco(self, primitive: dict[str, Any]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        import DracoPy

        packed = primitive["extensions"][_DRACO]
        try:
            found = DracoPy.decode(self._file.view(packed["bufferView"]))
            by_id = {attribute["unique_id"]: attribute["data"] for attribute in found.attributes}
            attributes = {name: np.asarray(by_id[number]) for name, number in packed["attributes"].items()}
            indices = np.asarray(found.faces).reshape(-1)
        except UserError:
            raise
        except Exception as error:  # whatever the decoder meets in a broken file
            raise UserError(f"its Draco data cannot be read ({shown(error)}); export it without.") from error
        for name, values in attributes.items():
            accessor = self._file.entry("accessors", primitive["attributes"][name])
            values = values.reshape(len(values), -1)
            full = accessor.get("normalized") and values.dtype.kind in "iu"
            attributes[name] = values / float(np.iinfo(values.dtype).max) if full else values
        return attributes, indices

    def _morphed(
        self, primitive: dict[str, Any], attributes: dict[str, np.ndarray], weights: list[float]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        points, normals = attributes["POSITION"], attributes.get("NORMAL")
        for target, weight in zip(primitive.get("targets", []), weights, strict=False):
            if weight and "POSITION" in target:
                points = points + weight * self._file.array(target["POSITION"])
            if weight and "NORMAL" in target and normals is not None:
                normals = normals + weight * self._file.array(target["NORMAL"])
        return points, normals

    def _placed(
        self,
        node: dict[str, Any],
        world: np.ndarray,
        points: np.ndarray,
        normals: np.ndarray | None,
        attributes: dict[str, np.ndarray],
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None, bool]]:
        """Points and normals for each time that a node shows its mesh, and whether it is mirrored."""
        if "skin" in node and "JOINTS_0" in attributes and "WEIGHTS_0" in attributes:
            bones = self._bones(self._file.entry("skins", node["skin"]), attributes)
            moved = np.einsum("vij,vj->vi", bones[:, :3, :3], points) + bones[:, :3, 3]
            turned = None if normals is None else np.einsum("vij,vj->vi", bones[:, :3, :3], normals)
            yield moved, turned, bool(np.median(np.linalg.det(bones[:, :3, :3])) < 0)
            return
        places = [world]
        if instances := node.get("extensions", {}).get(_INSTANCES, {}).get("attributes"):
            places = [world @ local for local in self._instances(instances)]
            check_count(len(places) * len(points), "a mesh shown many times")
        for place in places:
            linear = place[:3, :3]
            mirrored = bool(np.linalg.det(linear) < 0)
            yield points @ linear.T + place[:3, 3], None if normals is None else normals @ _cofactors(linear), mirrored

    def _bones(self, skin: dict[str, Any], attributes: dict[str, np.ndarray]) -> np.ndarray:
        """Each vertex's matrix, [V, 4, 4], of the joints that hold it."""
        joints = skin.get("joints", [])
        inverse = np.tile(np.eye(4), (len(joints), 1, 1))
        if "inverseBindMatrices" in skin:
            inverse = self._file.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        if not joints or len(inverse) < len(joints):
            raise UserError("a skin lacks joints or their matrices; export it again.")
        matrices = np.stack([self._worlds.get(j, np.eye(4)) @ inverse[k] for k, j in enumerate(joints)])
        total, sums = np.zeros((len(attributes["POSITION"]), 4, 4)), np.zeros(len(attributes["POSITION"]))
        for number in range(4):
            indices, weights = attributes.get(f"JOINTS_{number}"), attributes.get(f"WEIGHTS_{number}")
            if indices is None or weights is None:
                break
            if indices.max(initial=0) >= len(joints):
                raise UserError(f"a vertex names joint {indices.max()} of {len(joints)}; export it again.")
            for k in range(indices.shape[1]):
                total += weights[:, k, None, None] * matrices[indices[:, k].astype(np.int64)]
                sums += weights[:, k]
        total[sums <= 0] = np.eye(4)
        return total / np.where(sums > 0, sums, 1.0)[:, None, None]

    def _instances(self, attributes: dict[str, int]) -> list[np.ndarray]:
        read = {name: self._file.array(index) for name, index in attributes.items() if name[0] != "_"}
        count = max((len(values) for values in read.values()), default=0)
        keys = {"TRANSLATION": "translation", "ROTATION": "rotation", "SCALE": "scale"}
        return [
            _local({key: read[name][row].tolist() for name, key in keys.items() if name in read})
            for row in range(count)
        ]

    def _note_the_rest(self, nodes: list[tuple[int, np.ndarray]]) -> None:
        document, add = self._file.document, self._notes.add
        if animations := document.get("animations"):
            add(f"{counted(len(animations), 'animation')} left out: the mesh stands as it does before they begin.")
        scenes = document.get("scenes", [])
        if len(scenes) > 1:
            others = {n for number, scene in enumerate(scenes) for n in scene.get("nodes", [])}
            if others - {index for index, _ in nodes}:
                add(f"{counted(len(scenes) - 1, 'other scene')} left out.")
        shown_nodes = [self._file.entry("nodes", index) for index, _ in nodes]
        if cameras := sum("camera" in node for node in shown_nodes):
            add(f"{counted(cameras, 'camera')} left out.")
        if lights := sum("KHR_lights_punctual" in node.get("extensions", {}) for node in shown_nodes):
            add(f"{counted(lights, 'light')} left out.")
        for name in document.get("extensionsUsed", []):
            # Those of materials are told where a material has them.
            if name not in FOLLOWED | NAMED and not str(name).startswith("KHR_materials_"):
                add(f"{shown(name)} is not followed.")
        primitives = [p for mesh in document.get("meshes", []) for p in mesh.get("primitives", [])]
        if any("KHR_materials_variants" in primitive.get("extensions", {}) for primitive in primitives):
            add("KHR_materials_variants: the first look of each mesh is taken.")
        if any("targets" in primitive for primitive in primitives):
            add("morph targets are baked in at the file's own weights.")


def _local(node: dict[str, Any]) -> np.ndarray:
    """A node's own transform [4, 4]."""
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    result = np.eye(4)
    x, y, z, w = np.array(node.get("rotation", [0, 0, 0, 1]), np.float64) / max(
        float(np.linalg.norm(node.get("rotation", [0, 0, 0, 1]))), 1e-12
    )
    result[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    result[:3, :3] *= np.array(node.get("scale", [1, 1, 1]), np.float64)
    result[:3, 3] = node.get("translation", [0, 0, 0])
    return result


def _cofactors(linear: np.ndarray) -> np.ndarray:
    """[3, 3] for rows of normals: the inverse transpose up to length, turned right for mirrors, defined for all."""
    a, b, c = linear.T
    sign = -1.0 if np.linalg.det(linear) < 0 else 1.0
    return sign * np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)])


def _unit_colors(values: np.ndarray) -> np.ndarray:
    return values / float(np.iinfo(values.dtype).max) if values.dtype.kind in "iu" else values


def _triangles(indices: np.ndarray, mode: int) -> np.ndarray:
    """[F, 3] of a list, a strip or a fan; triangles that repeat a corner are only joints of strips."""
    if mode == 4:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    if len(indices) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == 5:
        faces = np.stack([indices[:-2], indices[1:-1], indices[2:]], axis=1)
        faces[1::2] = faces[1::2, [1, 0, 2]]
    elif mode == 6:
        faces = np.stack([np.full(len(indices) - 2, indices[0]), indices[1:-1], indices[2:]], axis=1)
    else:
        raise UserError(f"a primitive has the mode {shown(mode)}, which glTF does not know; export it again.")
    return faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
