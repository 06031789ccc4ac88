"""The miniature world on disk, and the latents made from it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny

from dreamdist3d.mini.dataset import MiniDataset, load_dataset, make_object, write_dataset
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.latents import BACKGROUNDS, encode_dataset
from dreamdist3d.mini.palette import JITTER, PALETTE
from dreamdist3d.mini.surface import MATERIALS, PATTERNS

COUNT = 18  # more than a worker takes at a time


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "data"
    done = []
    # Threaded work before it: forked workers would hang here.
    torch.nn.functional.normalize(torch.randn(400_000, 3), dim=-1)
    write_dataset(folder, COUNT, seed=5, sets=1, workers=2, on_object=lambda: done.append(1))
    assert len(done) == COUNT
    return folder


def test_two_workers_write_what_one_process_makes(written):
    data = load_dataset(written)
    assert len(data) == COUNT and data.renders.shape == (COUNT, 4, 64, 64, 4)
    for index in (0, 15, 16, 17):
        pictures, cameras, azimuths, truth = make_object(5, index, 1)
        assert np.array_equal(data.renders[index], pictures)
        assert np.array_equal(data.cameras[index].numpy(), cameras)
        assert np.array_equal(data.azimuths[index].numpy(), azimuths)
        assert data.truth[index] == json.loads(json.dumps(truth))


def test_an_object_depends_on_seed_and_index_alone():
    first = make_object(5, 3, 2)
    assert np.array_equal(make_object(5, 3, 2)[0], first[0])
    for other in (make_object(6, 3, 2), make_object(5, 3 + len(FAMILIES), 2)):
        assert not np.array_equal(other[0], first[0]) and other[3]["family"] == first[3]["family"]
    azimuths = first[2].reshape(2, 4)
    np.testing.assert_allclose(np.diff(azimuths, axis=1) % 360, 90, atol=1e-3)
    assert azimuths[0, 0] != azimuths[1, 0]


def test_the_truth_is_whole(written):
    data = load_dataset(written)
    assert [known["family"] for known in data.truth] == [list(FAMILIES)[i % len(FAMILIES)] for i in range(COUNT)]
    for known in data.truth:
        assert np.abs(np.subtract(known["main_rgb"], PALETTE[known["main_color"]])).max() <= JITTER + 1e-9
        assert known["attributes"] and all(isinstance(v, float) for v in known["attributes"].values())
        assert known["pattern"] in PATTERNS and known["material"] in MATERIALS
        assert (known["pattern"] == "plain") == (not known["second_color"]) == (not known["second_rgb"])
        assert known["main_color"] in known["captions"][0] and known["captions"][-1].endswith(known["family"])


def test_cameras_are_conditions(written):
    cameras = load_dataset(written).cameras.view(-1, 4, 4)
    torch.testing.assert_close(cameras[:, :3, 3].norm(dim=1), torch.ones(len(cameras)))
    assert (cameras[:, 3] == torch.tensor([0.0, 0.0, 0.0, 1.0])).all()


def test_a_folder_that_was_never_finished_does_not_open(written, tmp_path):
    for name in ("cameras.npy", "azimuths.npy", "objects.jsonl"):
        (tmp_path / name).write_bytes((written / name).read_bytes())
    with pytest.raises(FileNotFoundError):
        load_dataset(tmp_path)


@pytest.fixture
def vae():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(0, 1),
            num_decoder_blocks=(1, 0),
            scaling_factor=1.7,
        ).requires_grad_(False)


def plain_data(alpha):
    generator = torch.Generator().manual_seed(0)
    renders = torch.randint(0, 256, (3, 8, 16, 16, 4), generator=generator, dtype=torch.uint8)
    renders[..., 3] = alpha
    return MiniDataset(renders.numpy(), torch.zeros(3, 8, 16), torch.zeros(3, 8), [{}] * 3)


def test_latents_of_opaque_pictures_are_the_scaled_encodings(vae, tmp_path):
    data = plain_data(alpha=255)
    latents = encode_dataset(vae, data, tmp_path, seed=0).latents
    assert latents.shape == (3, 2, BACKGROUNDS, 4, 4, 8, 8) and latents.dtype == torch.float16
    pixels = torch.from_numpy(data.renders)[..., :3].flatten(0, 1).movedim(-1, 1) / 255 * 2 - 1
    expected = (vae.encode(pixels).latents * 1.7).view(3, 2, 4, 4, 8, 8)
    for background in range(BACKGROUNDS):
        torch.testing.assert_close(latents[:, :, background].float(), expected, atol=2e-3, rtol=2e-3)


def test_the_views_of_a_set_share_their_background(vae, tmp_path):
    encoded = encode_dataset(vae, plain_data(alpha=0), tmp_path, seed=0)
    assert (encoded.latents == encoded.latents[:, :, :, :1]).all()
    assert len(encoded.latents[:, :, :, 0].flatten(0, 2).flatten(1).unique(dim=0)) > 3 * BACKGROUNDS


def test_backgrounds_are_known_by_kind(tmp_path):
    """With an autoencoder that passes pictures through, plain backgrounds are seen to be plain."""
    passing = SimpleNamespace(
        device=torch.device("cpu"),
        config=SimpleNamespace(scaling_factor=1.0),
        encode=lambda pictures: SimpleNamespace(latents=pictures),
    )
    encoded = encode_dataset(passing, plain_data(alpha=0), tmp_path, seed=0)
    assert encoded.kinds.shape == encoded.latents.shape[:3] and len(encoded.kinds.unique()) > 1
    spread = encoded.latents[:, :, :, 0].float().flatten(-2).std(dim=-1).amax(dim=-1)
    assert torch.equal(spread < 1e-4, encoded.kinds == 0)


def test_latents_are_encoded_once_and_chunks_do_not_show(vae, tmp_path, monkeypatch):
    first = encode_dataset(vae, plain_data(alpha=255), tmp_path / "whole", seed=0)
    again = encode_dataset(None, plain_data(alpha=0), tmp_path / "whole", seed=1)
    assert torch.equal(again.latents, first.latents) and torch.equal(again.kinds, first.kinds)
    monkeypatch.setattr("dreamdist3d.mini.latents._CHUNK", 1)
    single = encode_dataset(vae, plain_data(alpha=255), tmp_path / "single", seed=0)
    torch.testing.assert_close(single.latents, first.latents, atol=2e-3, rtol=2e-3)
