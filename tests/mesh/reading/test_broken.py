"""Files with bytes changed, cut and added: read, or refused in one line."""

import random
from pathlib import Path

import pytest

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.read import read_file
from tests.mesh.reading import test_ply
from tests.mesh.reading.files import cube, gltf, png, quarters, textured
from tests.mesh.reading.test_obj import points, sides, write as write_obj


def broken(data: bytes, chance: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(chance.choice((1, 3, 20))):
        place = chance.randrange(len(found))
        new = chance.choice((chance.randbytes(1), chance.randbytes(4), b"\0\0\0\x4d", b"-1 ", b"9999999"))
        if chance.random() < 0.1 and place > 20:
            del found[place:]
        else:
            found[place : place + chance.choice((len(new), 0))] = new
    return bytes(found)


@pytest.mark.parametrize("kind", ["glb", "obj", "ply"])
def test_whatever_is_broken_is_read_or_refused_in_one_line(tmp_path: Path, kind: str):
    if kind == "glb":
        sound = gltf(tmp_path / "sound.glb", cube(), textured(), png(quarters())).read_bytes()
    elif kind == "obj":
        sound = write_obj(tmp_path, [*points(), *sides()]).read_bytes()
    else:
        sound = test_ply.write(tmp_path, "", "", [*test_ply.vertices(), *test_ply.quads()], 6).read_bytes()
    chance, refused = random.Random(0), 0
    for _ in range(80):
        path = tmp_path / f"broken.{kind}"
        path.write_bytes(broken(sound, chance))
        try:
            read_file(path)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and "broken" in str(error) and len(str(error)) < 600
    assert 20 < refused < 80
