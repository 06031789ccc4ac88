"""Folders of pictures as people have them."""

import numpy as np
import pytest
import torch
from PIL import Image

from dreamdist3d.errors import UserError
from dreamdist3d.prompts import load_references


def only(folder, size=8):
    return load_references(folder, size).pixels[0]


def test_pictures_come_by_name_as_squares_between_minus_one_and_one(tmp_path):
    for name, value in (("b.jpg", 0), ("A.PNG", 255), ("c.webp", 128), ("d.bmp", 64)):
        Image.new("RGB", (30, 20), (value,) * 3).save(tmp_path / name)
    (tmp_path / "README.md").write_text("not a picture")
    (tmp_path / "._a.png").write_bytes(b"side file")
    (tmp_path / "folder.png").mkdir()
    references = load_references(tmp_path, 8)
    assert [p.name for p in references.paths] == ["A.PNG", "b.jpg", "c.webp", "d.bmp"]
    assert references.pixels.shape == (4, 3, 8, 8) and references.pixels.dtype == torch.float32
    assert references.skipped == [] and len(references) == 4
    means = references.pixels.mean((1, 2, 3))
    torch.testing.assert_close(means, torch.tensor([1.0, -1.0, 128 / 127.5 - 1, 64 / 127.5 - 1]), atol=0.02, rtol=0)


def test_the_middle_square_is_kept_whole(tmp_path):
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert torch.equal(only(tmp_path, 16), torch.ones(3, 16, 16))


def test_small_pictures_are_enlarged(tmp_path):
    Image.new("RGB", (3, 5), (255, 0, 0)).save(tmp_path / "small.png")
    torch.testing.assert_close(only(tmp_path, 32)[:, 0, 0], torch.tensor([1.0, -1.0, -1.0]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = np.zeros((16, 16, 3), np.uint8)
    upright[:8, :8] = 255  # a bright top left corner
    transposed = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = Image.fromarray(upright)
    stored = stored if transposed is None else stored.transpose(Image.Transpose(transposed))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    picture = only(tmp_path, 16)
    assert picture[:, :7, :7].mean() > 0.9 and picture[:, 9:].mean() < -0.9 and picture[:, :, 9:].mean() < -0.9


def palette_with_transparency():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 255] * 2)
    image.info["transparency"] = 1
    return image


@pytest.mark.parametrize(
    "image",
    [Image.new("RGBA", (8, 8), (255, 0, 0, 0)), Image.new("LA", (8, 8), (0, 0)), palette_with_transparency()],
    ids=["RGBA", "LA", "palette"],
)
def test_transparency_becomes_white(tmp_path, image):
    image.save(tmp_path / "clear.png")
    assert torch.equal(only(tmp_path), torch.ones(3, 8, 8))


def test_half_transparency_is_mixed_with_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 127)).save(tmp_path / "half.png")
    torch.testing.assert_close(only(tmp_path), torch.full((3, 8, 8), 1 - 2 * 127 / 255), atol=0.01, rtol=0)


@pytest.mark.parametrize("mode", ["L", "1", "P", "I;16"])
def test_gray_palette_and_16_bit_keep_their_brightness(tmp_path, mode):
    values = np.zeros((8, 8), np.uint8)
    values[:, 4:] = 255
    if mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16) * 257)
        dim = Image.fromarray(np.full((8, 8), 64 * 257, np.uint16))
    else:
        image, dim = Image.fromarray(values).convert(mode), Image.new("L", (8, 8), 64)
    image.save(tmp_path / "a.png")
    dim.save(tmp_path / "b.png")
    first, second = load_references(tmp_path, 8).pixels
    assert torch.equal(first[:, :, :4], -torch.ones(3, 8, 4)) and torch.equal(first[:, :, 4:], torch.ones(3, 8, 4))
    torch.testing.assert_close(second, torch.full((3, 8, 8), 64 / 127.5 - 1))


def test_cmyk_photographs_are_read(tmp_path):
    Image.new("CMYK", (16, 16), (0, 0, 0, 0)).save(tmp_path / "print.jpg")
    assert only(tmp_path).min() > 0.95


def test_unreadable_files_are_named_and_skipped(tmp_path):
    Image.effect_noise((64, 64), 90).convert("RGB").save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.webp").write_text("hello")
    references = load_references(tmp_path, 8)
    assert [p.name for p in references.paths] == ["whole.jpg"]
    reasons = {path.name: reason for path, reason in references.skipped}
    assert reasons.keys() == {"cut.jpg", "empty.png", "text.webp"}
    assert (
        "truncated" in reasons["cut.jpg"]
        and "empty" in reasons["empty.png"]
        and "not a picture" in reasons["text.webp"]
    )


def test_a_folder_without_anything_readable_is_one_line(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_references(tmp_path / "none", 8)
    with pytest.raises(UserError, match="holds no images"):
        load_references(tmp_path, 8)
    (tmp_path / "a.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"none of the 1 images .*a\.png: not a picture"):
        load_references(tmp_path, 8)
    with pytest.raises(UserError, match="is a file: give the folder"):
        load_references(tmp_path / "a.png", 8)


def test_the_content_hash_follows_the_pixels(tmp_path):
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "a.png")
    first = load_references(tmp_path, 8).content_hash
    assert load_references(tmp_path, 8).content_hash == first
    Image.new("RGB", (8, 8), (1, 2, 4)).save(tmp_path / "a.png")
    assert load_references(tmp_path, 8).content_hash != first


def test_a_picture_too_large_to_decode_is_left_out_by_its_header(tmp_path):
    """A bit for each of 177 million pixels is a file of 22 kB; decoded it would be gigabytes."""
    Image.new("1", (13_300, 13_300)).save(tmp_path / "huge.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    references = load_references(tmp_path, 8)
    assert [path.name for path in references.paths] == ["small.png"]
    assert references.skipped == [(tmp_path / "huge.png", "13300 x 13300 pixels are too many: make it smaller")]
