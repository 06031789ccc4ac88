import pytest
import torch
import torchvision

from dreamdist3d.errors import UserError
from dreamdist3d.eval.diversity import lpips_distances


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def views(assets: int) -> torch.Tensor:
    return torch.rand(assets, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_equals_torchmetrics_pair_by_pair(torch_home):
    """On random weights of the real network, where the real ones lie."""
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity

    torch_home.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(torchvision.models.alexnet().state_dict(), torch_home / "alexnet-owt-7be5be79.pth")
    pictures = views(3)
    distances = lpips_distances(pictures)
    assert torch.equal(distances, distances.T) and float(distances.diagonal().abs().sum()) == 0
    expected = learned_perceptual_image_patch_similarity(pictures[2], pictures[0], net_type="alex", normalize=True)
    assert float(distances[0, 2]) == pytest.approx(float(expected), rel=1e-5)
    assert len(set(distances.flatten().tolist())) == 4


def test_without_weights_there_is_no_number_under_this_name(torch_home, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(
        UserError, match=r"weights of LPIPS \(alex\) are not on this machine.*alexnet-owt-7be5be79"
    ) as e:
        lpips_distances(views(2))
    assert str(torch_home) in str(e.value) and "\n" not in str(e.value)
