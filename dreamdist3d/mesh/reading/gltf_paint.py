"""glTF materials and textures as paint."""

from typing import Any, get_args

import numpy as np

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.colors import linear_to_srgb, srgb_to_linear
from dreamdist3d.mesh.painted import AlphaMode, Material, Sampler, Wrap
from dreamdist3d.mesh.reading.common import BARE, decoded_picture, shown
from dreamdist3d.mesh.reading.gltf import FOLLOWED, GltfFile

_WRAPS: dict[Any, Wrap] = {33071: "clamp", 33648: "mirror", 10497: "repeat"}
_SPECULAR = "KHR_materials_pbrSpecularGlossiness"
_TRANSFORM = "KHR_texture_transform"
_BLACK = 1e-3  # a base colour below this shows nothing of its own
# Texture slots that a bake of colour alone cannot keep, and what users call them.
_LOST_SLOTS = {"normalTexture": "normal map", "occlusionTexture": "occlusion map"}


class PaintReader:
    """The materials of one file; textures are decoded once."""

    def __init__(self, file: GltfFile) -> None:
        self._file = file
        self._pictures: dict[tuple[int, bool], np.ndarray | None] = {}

    def paint(self, primitive: dict[str, Any], attributes: dict[str, np.ndarray], count: int) -> dict[str, Any]:
        """What `Painted` takes beside vertices and faces: colours [V, 3 or 4], uv and texture, sampler, material."""
        vertex_colors = _vertex_colors(attributes.get("COLOR_0"))
        if "material" not in primitive:
            bare = np.tile(BARE, (count, 1))
            return {"colors": bare if vertex_colors is None else _encoded(vertex_colors)}
        source = self._file.entry("materials", primitive["material"])
        name = shown(source.get("name") or f"number {primitive['material']}")
        material = _material(source)
        factor, slot = self._base(source, name, vertex_colors is not None)
        self._note_losses(source, name, slot)
        opacity = material.alpha_mode != "OPAQUE"
        textured = self._texture(slot, attributes, name, opacity) if slot else {}
        colors = vertex_colors if vertex_colors is not None else np.ones((1, 4))
        if textured and (np.abs(factor - 1.0) > 1e-6).any():
            textured["texture"] = _tinted(textured["texture"], factor)
        elif not textured:
            colors = colors * factor
        if textured and (colors > 1.0 - 1e-6).all():  # white, which changes nothing
            return {"material": material, **textured}
        if not opacity:
            colors = colors[:, :3]
        whole = np.broadcast_to(_encoded(colors), (count, colors.shape[1]))
        return {"material": material, "colors": np.ascontiguousarray(whole), **textured}

    def _base(self, source: dict[str, Any], name: str, has_colors: bool) -> tuple[np.ndarray, dict[str, Any] | None]:
        """The colour factor, linear [4], and the texture's slot: of the base colour, or of what stands for it."""
        specular = source.get("extensions", {}).get(_SPECULAR)
        if specular is not None and "pbrMetallicRoughness" not in source:
            factor, slot = specular.get("diffuseFactor"), specular.get("diffuseTexture")
        else:
            rough = source.get("pbrMetallicRoughness", {})
            factor, slot = rough.get("baseColorFactor"), rough.get("baseColorTexture")
        emission = _numbers(source.get("emissiveFactor", [0.0] * 3), 3)
        shows = slot is not None or has_colors or (factor is not None and max(_numbers(factor, 4)[:3]) > _BLACK)
        if emission.max() > _BLACK:
            strength = source.get("extensions", {}).get("KHR_materials_emissive_strength", {})
            emission = emission * strength.get("emissiveStrength", 1.0)
            if not shows:  # light is all that this material shows
                opacity = 1.0 if factor is None else float(factor[3])
                brightest = max(emission.max(), 1.0)
                return np.append(emission / brightest, opacity), source.get("emissiveTexture")
            self._file.notes.add(f"material {name} glows: its emission is not kept.")
        return np.ones(4) if factor is None else _numbers(factor, 4), slot

    def _texture(
        self, slot: dict[str, Any], attributes: dict[str, np.ndarray], name: str, opacity: bool
    ) -> dict[str, Any]:
        """uv, texture and sampler; nothing, with a note, where one of them cannot be had."""
        transform = slot.get("extensions", {}).get(_TRANSFORM, {})
        number = transform.get("texCoord", slot.get("texCoord", 0))
        uv = attributes.get(f"TEXCOORD_{number}")
        if uv is None:
            self._file.notes.add(f"material {name} wants texture coordinates {number}, which are missing: no texture.")
            return {}
        texture = self._file.entry("textures", slot.get("index"))
        picture = self._picture(texture, name, opacity)
        if picture is None:
            return {}
        sampler = self._file.entry("samplers", texture["sampler"]) if "sampler" in texture else {}
        across, along = (_WRAPS.get(sampler.get(side), "repeat") for side in ("wrapS", "wrapT"))
        nearest = sampler.get("magFilter") == 9728
        return {
            "uv": _transformed(uv[:, :2], transform),
            "texture": picture,
            "sampler": Sampler((across, along), nearest),
        }

    def _picture(self, texture: dict[str, Any], name: str, opacity: bool) -> np.ndarray | None:
        extensions = texture.get("extensions", {})
        choices = [extensions[e].get("source") for e in ("EXT_texture_webp", "EXT_texture_avif") if e in extensions]
        choices += [texture["source"]] if "source" in texture else []
        reason = f"{', '.join(map(shown, extensions)) or 'no picture'} is not read"
        for index in choices:
            if (index, opacity) not in self._pictures:
                try:
                    self._pictures[index, opacity] = decoded_picture(self._image(index), opacity)
                except (UserError, ValueError) as error:
                    reason, self._pictures[index, opacity] = str(error).rstrip("."), None
            if self._pictures[index, opacity] is not None:
                return self._pictures[index, opacity]
        self._file.notes.add(f"the texture of material {name} is left out: {reason}.")
        return None

    def _image(self, index: Any) -> bytes:
        image = self._file.entry("images", index)
        data = self._file.view(image["bufferView"]) if "bufferView" in image else self._file.resource(image["uri"])
        if data[:12] == b"\xabKTX 20\xbb\r\n\x1a\n":
            raise ValueError("KTX2 pictures are not read; export it with PNG or JPEG")
        return data

    def _note_losses(self, source: dict[str, Any], name: str, slot: dict[str, Any] | None) -> None:
        add = self._file.notes.add
        rough = source.get("pbrMetallicRoughness", {})
        for key, thing in _LOST_SLOTS.items():
            if key in source and source[key] is not slot:
                add(f"material {name}: its {thing} is not kept; ours is baked from the shape.")
        if "metallicRoughnessTexture" in rough or rough.get("metallicFactor", 0) > 0.05:
            add(f"material {name}: metalness and roughness are not kept; ours is matt.")
        for extension in source.get("extensions", {}):
            if extension not in FOLLOWED:
                add(f"material {name}: {shown(extension)} is not followed.")


def _material(source: dict[str, Any]) -> Material:
    stored: Any = source.get("alphaMode")
    mode: AlphaMode = stored if stored in get_args(AlphaMode) else "OPAQUE"
    return Material(mode, float(source.get("alphaCutoff", 0.5)), bool(source.get("doubleSided", False)))


def _vertex_colors(values: np.ndarray | None) -> np.ndarray | None:
    """COLOR_0 as linear [V, 4]."""
    if values is None:
        return None
    return values if values.shape[1] == 4 else np.concatenate([values, np.ones((len(values), 1))], axis=1)


def _numbers(values: Any, count: int) -> np.ndarray:
    if not isinstance(values, list) or len(values) < count:
        raise UserError("a material's factor is no list of numbers; export it again.")
    return np.array(values[:count], dtype=np.float64)


def _transformed(uv: np.ndarray, transform: dict[str, Any]) -> np.ndarray:
    """KHR_texture_transform: scale, then turn, then move."""
    scale, offset = np.array(transform.get("scale", [1, 1])), np.array(transform.get("offset", [0, 0]))
    cosine, sine = np.cos(transform.get("rotation", 0.0)), np.sin(transform.get("rotation", 0.0))
    return (uv * scale) @ np.array([[cosine, -sine], [sine, cosine]]) + offset


def _tinted(texture: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """A texture times a linear factor [4]."""
    levels = np.arange(256)
    tables = [_bytes(linear_to_srgb(srgb_to_linear(levels / 255.0) * f)) for f in factor[:3]]
    tables.append(_bytes(levels / 255.0 * factor[3]))
    return np.stack([tables[k][texture[..., k]] for k in range(texture.shape[2])], axis=2)


def _encoded(linear: np.ndarray) -> np.ndarray:
    """Linear [N, 3 or 4] -> sRGB uint8; opacity stays linear."""
    encoded = linear_to_srgb(linear[:, :3].clip(0.0, 1.0))
    return _bytes(np.concatenate([encoded, linear[:, 3:]], axis=1))


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.round(255.0 * np.clip(values, 0.0, 1.0)).astype(np.uint8)
