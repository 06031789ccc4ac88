import pytest
import torch
from safetensors.torch import load_file

from dreamdist3d.eval.features import FeatureCache
from dreamdist3d.eval.features.cache import picture_hash


class Counting:
    """Features are mean colours; remembers how many pictures it was given."""

    def __init__(self, model_id: str = "colours@1", resize: str = "none") -> None:
        self.name, self.model_id, self.resize, self.seen = "colours", model_id, resize, 0

    def encode(self, images):
        self.seen += len(images)
        return torch.nn.functional.normalize(torch.stack([image.mean(dim=(1, 2)) for image in images]), dim=-1)


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_a_picture_is_encoded_once_whatever_its_place(tmp_path):
    images = pictures(5)
    expected = Counting().encode(images)
    first, second = Counting(), Counting()
    assert torch.equal(FeatureCache(tmp_path).encode(first, images[:3]), expected[:3])
    again = images[[4, 2, 0, 2, 3]]
    assert torch.equal(FeatureCache(tmp_path).encode(second, again), expected[[4, 2, 0, 2, 3]])
    assert (first.seen, second.seen) == (3, 2)


def test_a_picture_twice_in_one_call_is_encoded_once(tmp_path):
    encoder = Counting()
    FeatureCache(tmp_path).encode(encoder, pictures(2)[[0, 1, 0, 0]])
    assert encoder.seen == 2


def test_pictures_of_different_sizes_are_kept_too(tmp_path):
    images = [torch.ones(3, 2, 8), torch.ones(3, 4, 4), torch.ones(3, 4, 4) * 0.5]
    cache, encoder = FeatureCache(tmp_path), Counting()
    assert torch.equal(cache.encode(encoder, images), cache.encode(encoder, images))
    assert encoder.seen == 3


@pytest.mark.parametrize("other", [Counting(model_id="colours@2"), Counting(resize="bicubic")])
def test_other_weights_or_another_filter_share_nothing(other, tmp_path):
    FeatureCache(tmp_path).encode(Counting(), pictures(3))
    FeatureCache(tmp_path).encode(other, pictures(3))
    assert other.seen == 3


def test_the_file_says_what_it_holds(tmp_path):
    images = pictures(3)
    features = FeatureCache(tmp_path).encode(Counting(), images)
    (path,) = tmp_path.rglob("*.safetensors")
    stored = load_file(path)
    assert [row.tobytes() for row in stored["hashes"].numpy()] == [picture_hash(image) for image in images]
    assert torch.equal(stored["features"], features)


def test_a_damaged_file_is_computed_again(tmp_path):
    expected = FeatureCache(tmp_path).encode(Counting(), pictures(3))
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:50])
    encoder, after = Counting(), Counting()
    assert torch.equal(FeatureCache(tmp_path).encode(encoder, pictures(3)), expected)
    FeatureCache(tmp_path).encode(after, pictures(3))
    assert (encoder.seen, after.seen) == (3, 0)


def test_no_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no pictures"):
        FeatureCache(tmp_path).encode(Counting(), pictures(0))
