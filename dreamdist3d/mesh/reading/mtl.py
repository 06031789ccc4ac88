"""MTL files: the materials of OBJ files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dreamdist3d.mesh.painted import AlphaMode, Material, Sampler, Wrap
from dreamdist3d.mesh.reading.common import Notes, decoded_picture, file_beside, shown

# How many words follow an option of a texture; those of three are followed by one to three numbers.
_OPTIONS = {"-blendu": 1, "-blendv": 1, "-cc": 1, "-clamp": 1, "-texres": 1, "-imfchan": 1, "-boost": 1, "-bm": 1}
_OPTIONS |= {"-mm": 2, "-o": 3, "-s": 3, "-t": 3, "-type": 1}
_LOST = {"norm": "normal map", "map_bump": "bump map", "bump": "bump map", "disp": "displacement map"}
_LOST |= {"map_pm": "metalness map", "map_pr": "roughness map"}
_SHARP = 0.95  # an opacity map of which so much is either 0 or 1 cuts out; others let light through


@dataclass(frozen=True, eq=False)
class ObjMaterial:
    """What paints the faces of a material: a texture, or one colour."""

    name: str
    color: np.ndarray  # [3] or, with opacity, [4] uint8 sRGB
    material: Material
    texture: np.ndarray | None = None  # [H, W, 3 or 4] uint8 sRGB
    sampler: Sampler = Sampler()
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def placed(self, uv: np.ndarray) -> np.ndarray:
        """Texture coordinates [N, 2], from the bottom left, as the texture's options move them."""
        return uv * self.scale + self.offset


def read_materials(path: Path, wanted: set[str], notes: Notes) -> dict[str | None, ObjMaterial]:
    """The wanted materials of a file, by name; what cannot be followed is noted."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        notes.add(f"{shown(path.name)} cannot be read ({error.strerror}): its materials are left out.")
        return {}
    entries: dict[str, dict[str, str]] = {}
    entry: dict[str, str] = {}
    for line in text.splitlines():
        key, _, rest = line.strip().replace("\t", " ").partition(" ")
        if key.lower() == "newmtl":
            entry = entries.setdefault(rest.strip(), {})
        elif key and key[0] != "#":
            entry[key.lower()] = rest.strip()
    return {name: _material(path, name, entry, notes) for name, entry in entries.items() if name in wanted}


def _material(path: Path, name: str, entry: dict[str, str], notes: Notes) -> ObjMaterial:
    for key in sorted(entry.keys() & _LOST.keys()):
        notes.add(f"material {shown(name)}: its {_LOST[key]} is not kept.")
    color, slot = _numbers(entry.get("kd"), [0.8] * 3), "map_kd"
    glow = _numbers(entry.get("ke"), [0.0] * 3)
    if "map_kd" not in entry and color.max() <= 0 and (glow.max() > 0 or "map_ke" in entry):
        color, slot = glow / max(float(glow.max()), 1.0), "map_ke"  # light is all that it shows
    elif glow.max() > 0 or "map_ke" in entry:
        notes.add(f"material {shown(name)} glows: its emission is not kept.")
    opacity = _opacity(entry, name, notes)
    file, options = _texture_words(entry.get(slot, ""))
    texture = _picture(path, file, name, notes) if file else None
    mode: AlphaMode = "OPAQUE" if opacity >= 1.0 else "BLEND"
    if texture is not None and (mask_file := _texture_words(entry.get("map_d", ""))[0]):
        mask = _picture(path, mask_file, name, notes, opacity=True)
        if mask is not None:
            texture, mode = _with_mask(texture, mask)
    if texture is not None and opacity < 1.0:
        texture = _with_opacity(texture, opacity)
    elif "map_d" in entry and texture is None:
        notes.add(f"material {shown(name)}: its opacity map is not kept, for there is no texture to carry it.")
    plain = np.round(255.0 * np.append(color, [opacity] if mode != "OPAQUE" else []).clip(0, 1)).astype(np.uint8)
    wrap: Wrap = "clamp" if options.get("-clamp", ["off"])[0] == "on" else "repeat"
    scale, offset = (_pair(options.get(key, []), default) for key, default in (("-s", 1.0), ("-o", 0.0)))
    return ObjMaterial(name, plain, Material(mode), texture, Sampler((wrap, wrap)), scale, offset)


def _opacity(entry: dict[str, str], name: str, notes: Notes) -> float:
    """Of `d`, or of `Tr`, which counts the other way; some exporters write both wrongly for what is opaque."""
    found = float(_numbers(entry.get("d"), [1.0])[0])
    if "d" not in entry and "tr" in entry:
        found = 1.0 - float(_numbers(entry["tr"], [0.0])[0])
    if found <= 0.0:
        notes.add(f"material {shown(name)} is written as wholly transparent: taken for opaque.")
        return 1.0
    return min(found, 1.0)


def _numbers(text: str | None, default: list[float]) -> np.ndarray:
    """As many numbers as the default has; one number stands for three alike."""
    try:
        words = [float(word) for word in (text or "").split()[: len(default)]]
    except ValueError:
        words = []
    if not words:
        return np.array(default)
    return np.array(words if len(words) == len(default) else words[:1] * len(default))


def _texture_words(text: str) -> tuple[str, dict[str, list[str]]]:
    """The file's name, which may hold spaces, and the options before it."""
    options: dict[str, list[str]] = {}
    while (first := text.split(None, 1)) and first[0].lower() in _OPTIONS and len(first) == 2:
        option, text = first[0].lower(), first[1]
        options[option] = []
        while len(options[option]) < _OPTIONS[option] and len(word := text.split(None, 1)) == 2:
            if _OPTIONS[option] == 3 and not _is_number(word[0]):
                break
            options[option].append(word[0])
            text = word[1]
    return text, options


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _pair(words: list[str], default: float) -> tuple[float, float]:
    numbers = [float(word) for word in words if _is_number(word)][:2]
    numbers += [default] * (2 - len(numbers))
    return numbers[0], numbers[1]


def _picture(path: Path, name: str, material: str, notes: Notes, opacity: bool = False) -> np.ndarray | None:
    file = file_beside(path, name)
    if file is None:
        notes.add(f"the texture {shown(name)} of material {shown(material)} is missing: left out.")
        return None
    try:
        return decoded_picture(file, opacity)
    except ValueError as error:
        notes.add(f"the texture {shown(name)} of material {shown(material)} is left out: {error}.")
        return None


def _with_mask(texture: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, AlphaMode]:
    """A texture [H, W, 3] with the opacity of another picture [h, w, 4], in its alpha or else its gray."""
    values = mask[..., 3] if (mask[..., 3] < 255).any() else mask[..., :3].mean(axis=2).round().astype(np.uint8)
    size = texture.shape[1], texture.shape[0]
    fitted = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))
    sharp = ((values < 16) | (values > 239)).mean() >= _SHARP
    return np.dstack([texture, fitted]), "MASK" if sharp else "BLEND"


def _with_opacity(texture: np.ndarray, opacity: float) -> np.ndarray:
    if texture.shape[2] == 3:
        texture = np.dstack([texture, np.full(texture.shape[:2], 255, np.uint8)])
    faded = texture.copy()
    faded[..., 3] = np.round(faded[..., 3] * opacity)
    return faded
