"""The miniature multi-view diffusion model: MVDream's recipe on 8x8 latents."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from dreamdist3d.backbones.joint_attention import install_joint_attention
from dreamdist3d.mini.autoencoder import LATENT_CHANNELS
from dreamdist3d.mini.captions import CAPTIONS_PER_OBJECT, view_suffix
from dreamdist3d.mini.dataset import VIEWS_PER_SET, MiniDataset
from dreamdist3d.mini.loop import Stage
from dreamdist3d.mini.parallel import world_size
from dreamdist3d.mini.text import WIDTH, tokenize

OBJECTS_PER_STEP = 8
SINGLE_VIEW_SHARE = 0.3
CAPTION_DROPOUT = 0.1
_VIEW_WORDS_SHARE = 0.3
_CAPTION_ODDS = (0.35, 0.25, 0.2, 0.2)


def build_unet() -> UNet2DConditionModel:
    """A new UNet: a stock class, the camera through its projection class embedding, joint-view attention."""
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(96, 160),
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        use_linear_projection=True,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=16,
    )
    return install_joint_attention(unet, VIEWS_PER_SET)


def build_scheduler() -> DDPMScheduler:
    """Stable Diffusion 2.1's noise schedule, v-prediction."""
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
    )


class _Batches:
    """Draws training batches: latents, token ids and cameras, multi-view or single-view."""

    def __init__(self, data: MiniDataset, latents: Tensor, tokenizer: CLIPTokenizer) -> None:
        self.objects = OBJECTS_PER_STEP // world_size()
        self.latents = latents  # [N, sets, backgrounds, 4, c, h, w]
        self.cameras = data.cameras.unflatten(1, (-1, VIEWS_PER_SET))
        self.azimuths = data.azimuths.unflatten(1, (-1, VIEWS_PER_SET))
        self.tokenizer = tokenizer
        self.captions = [known["captions"] for known in data.truth]
        self.ids = tokenize(tokenizer, [c for four in self.captions for c in four]).unflatten(0, (len(data), -1))
        self.empty = tokenize(tokenizer, [""])[0]

    def multi_view(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """[n * 4, c, h, w] latents, [n, L] ids, [n * 4, 16] cameras of this process's share n of the objects."""
        objects, sets, backgrounds = self._pick(self.objects, generator)
        latents = self.latents[objects, sets, backgrounds].float().flatten(0, 1)
        ids = self._caption_ids(objects, generator)
        return latents, ids, self.cameras[objects, sets].flatten(0, 1)

    def single_view(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """As many pictures, each of another object, without a camera; some captions say the direction in words."""
        count = self.objects * VIEWS_PER_SET
        objects, sets, backgrounds = self._pick(count, generator)
        views = torch.randint(VIEWS_PER_SET, (count,), generator=generator)
        ids = self._caption_ids(objects, generator)
        for row in torch.nonzero(torch.rand(count, generator=generator) < _VIEW_WORDS_SHARE)[:, 0].tolist():
            suffix = view_suffix(float(self.azimuths[objects[row], sets[row], views[row]]))
            ids[row] = tokenize(self.tokenizer, [self.captions[objects[row]][row % CAPTIONS_PER_OBJECT] + suffix])[0]
        return self.latents[objects, sets, backgrounds, views].float(), ids, torch.zeros(count, 16)

    def _pick(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        sizes = self.latents.shape[:3]
        return tuple(torch.randint(size, (count,), generator=generator) for size in sizes)

    def _caption_ids(self, objects: Tensor, generator: torch.Generator) -> Tensor:
        which = torch.multinomial(torch.tensor(_CAPTION_ODDS), len(objects), replacement=True, generator=generator)
        ids = self.ids[objects, which].clone()
        ids[torch.rand(len(objects), generator=generator) < CAPTION_DROPOUT] = self.empty
        return ids


def diffusion_stage(
    data: MiniDataset,
    latents: Tensor,
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    steps: int,
    on_checkpoint: Callable[[int], None],
) -> Stage:
    """v-prediction; the text encoder learns jointly at a quarter of the rate."""
    batches, scheduler = _Batches(data, latents, tokenizer), build_scheduler()

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        single = bool(torch.rand((), generator=generator) < SINGLE_VIEW_SHARE)
        n_views = 1 if single else VIEWS_PER_SET
        clean, ids, cameras = (batches.single_view if single else batches.multi_view)(generator)
        noise = torch.randn(clean.shape, generator=generator)
        # One timestep for the views of an object, which are denoised together.
        t = torch.randint(scheduler.config.num_train_timesteps, (len(ids),), generator=generator)
        t = t.repeat_interleave(n_views)
        text = text_encoder(ids).last_hidden_state.repeat_interleave(n_views, dim=0)
        predicted = unet(
            scheduler.add_noise(clean, noise, t),
            t,
            encoder_hidden_states=text,
            class_labels=cameras,
            cross_attention_kwargs={"n_views": n_views},
        ).sample
        return {"loss": F.mse_loss(predicted, scheduler.get_velocity(clean, noise, t))}

    return Stage(
        name="diffusion",
        models={"unet": unet, "text_encoder": text_encoder},
        loss=loss,
        steps=steps,
        lr=8e-4,
        lr_scale={"text_encoder": 0.25},
        ema_decay=0.999,
        warmup=200,
        on_checkpoint=on_checkpoint,
    )
