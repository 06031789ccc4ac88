"""How steps are computed: lower precision, checkpointing, compilation, and a backbone left as it was."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from dreamdist3d.backbones import load_backbone
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import Execution, load_references
from dreamdist3d.prompts.learning.execution import _compiled, prepared
from dreamdist3d.prompts.learning.images import encode_references
from dreamdist3d.prompts.learning.learner import Learner
from tests.backbones.tiny import write_sd_folder
from tests.prompts.tiny import CONFIG, write_pictures


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return load_backbone(str(write_sd_folder(tmp_path_factory.mktemp("sd"))))


@pytest.fixture(scope="module")
def learner(backbone, tmp_path_factory):
    references = load_references(write_pictures(tmp_path_factory.mktemp("pictures"), 5, (20, 16)), 16)
    config = replace(CONFIG, prefix="a photo of")
    return Learner(backbone, encode_references(backbone, references.pixels), config)


def gradient(learner):
    learner._backward(learner.draws())
    return learner.tokens.grad.clone()


@contextmanager
def saved_bytes():
    """Collects what autograd keeps for the backward pass."""
    sizes = []

    def pack(tensor):
        sizes.append(tensor.nbytes)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


def looks(backbone):
    """All that preparing a model could leave behind."""
    found = {}
    for part in (backbone.text_encoder, backbone.unet):
        for name, module in part.named_modules():
            found[type(part), name] = (
                module.training,
                getattr(module, "gradient_checkpointing", None),
                "forward" in vars(module),
                module._compiled_call_impl,
            )
    return found


@pytest.mark.parametrize(
    "execution", [Execution("bf16"), Execution("fp32", True), Execution("fp32", False, True)], ids=str
)
def test_the_backbone_is_afterwards_as_it_was_even_after_an_error(backbone, execution):
    before = looks(backbone)
    with pytest.raises(ZeroDivisionError), prepared(backbone, execution):
        assert looks(backbone) != before
        raise ZeroDivisionError
    assert looks(backbone) == before


def test_what_had_checkpointing_before_keeps_it(backbone):
    backbone.unet.enable_gradient_checkpointing()
    before = looks(backbone)
    with prepared(backbone, Execution(checkpointing=True)):
        pass
    assert looks(backbone) == before
    backbone.unet.disable_gradient_checkpointing()


@pytest.mark.parametrize("part,inner", [("text_encoder", "layers.1.mlp.fc1"), ("unet", "up_blocks.1.resnets.0.conv1")])
def test_checkpointing_computes_both_models_twice_and_gives_equal_gradients(backbone, learner, part, inner):
    found = [m for name, m in getattr(backbone, part).named_modules() if name.endswith(inner)]
    calls = []
    hook = found[0].register_forward_hook(lambda module, *_: calls.append(module.training))
    expected = gradient(learner)
    with prepared(backbone, Execution(checkpointing=True)):
        recomputed = gradient(learner)
    hook.remove()
    assert calls == [False] * 3
    torch.testing.assert_close(recomputed, expected, rtol=1e-5, atol=1e-8)


def test_checkpointing_keeps_less_for_the_backward_pass(backbone, learner):
    with saved_bytes() as everything:
        gradient(learner)
    with saved_bytes() as little, prepared(backbone, Execution(checkpointing=True)):
        learner._backward(learner.draws())
    assert sum(little) < 0.9 * sum(everything)


def test_bf16_is_for_the_models_alone(backbone, learner):
    expected, seen = gradient(learner), []
    hook = backbone.unet.conv_out.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with prepared(backbone, Execution("bf16")):
        found = gradient(learner)
        assert torch.mm(torch.ones(1, 1), torch.ones(1, 1)).dtype == torch.float32
    hook.remove()
    assert seen == [torch.bfloat16] and found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert torch.nn.functional.cosine_similarity(found.flatten(), expected.flatten(), 0) > 0.99


def test_auto_is_single_precision_on_the_cpu():
    assert not Execution().autocasts(torch.device("cpu"))
    assert Execution("bf16").autocasts(torch.device("cpu"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_auto_is_bf16_on_a_gpu_that_computes_in_it():
    capable = torch.cuda.get_device_capability() >= (8, 0)
    assert Execution().autocasts(torch.device("cuda")) == capable


def test_an_unknown_precision_is_named():
    with pytest.raises(UserError, match="precision='fp8' is unknown"):
        Execution("fp8")


@pytest.mark.slow
@pytest.mark.forked
def test_a_compiled_unet_gives_equal_gradients(backbone, learner):
    expected = gradient(learner)
    # Inductor takes minutes on some CPUs; the tracing is the same.
    with _compiled(backbone.unet, backend="eager"):
        torch.testing.assert_close(gradient(learner), expected, rtol=1e-4, atol=1e-8)
