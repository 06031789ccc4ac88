import sys

import pytest
import torch

from dreamdist3d.errors import UserError
from dreamdist3d.eval.fidelity import fid, frechet_distance, inception, kid


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_too_few_pictures_are_refused_with_the_reason():
    with pytest.raises(UserError, match="no FID: with 40 pictures its covariance of 2048 .* needs 2049 of each"):
        fid(pictures(40), pictures(50))
    with pytest.raises(UserError, match="no KID: with 99 pictures its deviation .* needs 100 of each"):
        kid(pictures(200), pictures(99), seed=0)


def test_without_the_package_or_the_weights_one_line_says_what_to_do(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(
        UserError, match=r"weights of FID, KID, IQ and IV \(Inception v3\) are not on this machine.*6726825d"
    ):
        kid(pictures(100), pictures(100), seed=0)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(UserError, match="pip install torch-fidelity"):
        kid(pictures(100), pictures(100), seed=0)


@pytest.mark.filterwarnings("ignore")
def test_scores_are_torchmetrics_on_the_pictures_as_bytes(monkeypatch):
    """With a network in Inception's place that gives the mean colours, both can be checked by hand."""

    class Colors(torch.nn.Module):
        num_features = 3

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert images.dtype == torch.uint8
            return images.double().mean(dim=(2, 3)) / 255

    monkeypatch.setattr(inception, "_inception", Colors)
    monkeypatch.setattr(inception, "FEWEST_FID", 100)
    real, fake = pictures(120), pictures(110, seed=1) * 0.5
    colors = [(images * 255).round().mean(dim=(2, 3), dtype=torch.float64) / 255 for images in (real, fake)]
    assert fid(real, fake) == pytest.approx(frechet_distance(*colors), rel=1e-6, abs=1e-9)
    state = torch.random.get_rng_state()
    first = kid(real, fake, seed=3)
    torch.manual_seed(1)
    assert kid(real, fake, seed=3) == first and first.mean > 0
    torch.random.set_rng_state(state)


def test_answers_are_probabilities_of_the_pictures_as_bytes(monkeypatch):
    def network(features):
        assert features == "logits"
        return lambda images: images.double().mean(dim=(2, 3)) / 10

    monkeypatch.setattr(inception, "_inception", network)
    images = pictures(40)
    expected = ((images * 255).round().mean(dim=(2, 3)) / 10).softmax(dim=1)
    assert torch.allclose(inception.inception_answers(images), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_real_network_loads_from_where_its_weights_lie(tmp_path, monkeypatch):
    """On random weights of the real network: equal sets are nearer than different ones."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, _: None)
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {})
    torch.manual_seed(0)
    weights = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).state_dict()
    monkeypatch.undo()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.save(weights, folder / inception.WEIGHTS.rpartition("/")[2])
    network = inception._inception()
    assert network(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)).shape == (1, 2048)
    assert torch.equal(network.fc.weight, weights["fc.weight"])
    answers = inception.inception_answers(torch.rand(2, 3, 16, 16))
    assert answers.shape == (2, 1008) and torch.allclose(answers.sum(dim=1), torch.ones(2), atol=1e-4)
