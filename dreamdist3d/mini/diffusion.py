"""The miniature multi-view diffusion model: MVDream's recipe on 16x16 latents."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from dreamdist3d.backbones.joint_attention import install_joint_attention
from dreamdist3d.backbones.no_camera import leave_out_missing_cameras
from dreamdist3d.mini.autoencoder import LATENT_CHANNELS
from dreamdist3d.mini.captions import BACKGROUND_NAMES, background_suffix, view_suffix
from dreamdist3d.mini.dataset import VIEWS_PER_SET, MiniDataset
from dreamdist3d.mini.latents import EncodedDataset
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
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128, 160),
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        use_linear_projection=True,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=16,
    )
    return leave_out_missing_cameras(install_joint_attention(unet, VIEWS_PER_SET))


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
    """Draws training batches: latents, token ids and cameras, multi-view or single-view.

    Everything is drawn with tensors on one device and in shapes that do not depend on what is drawn.
    """

    def __init__(self, data: MiniDataset, encoded: EncodedDataset, tokenizer: CLIPTokenizer, objects: int) -> None:
        self.objects = objects // world_size()
        self.encoded = encoded
        device = encoded.latents.device
        self.cameras = data.cameras.unflatten(1, (-1, VIEWS_PER_SET)).to(device)
        azimuths = data.azimuths.unflatten(1, (-1, VIEWS_PER_SET))
        self.directions = (((azimuths + 45.0) % 360.0) // 90.0).long().to(device)
        captions = [caption for known in data.truth for caption in known["captions"]]
        self.ids = tokenize(tokenizer, captions).unflatten(0, (len(data), -1)).to(device)
        self.empty = tokenize(tokenizer, [""])[0].to(device)
        self.eos = tokenizer.eos_token_id
        self.view_words = _words(tokenizer, [view_suffix(90.0 * k) for k in range(4)]).to(device)
        self.background_words = _words(tokenizer, [background_suffix(name) for name in BACKGROUND_NAMES]).to(device)
        self.odds = torch.tensor(_CAPTION_ODDS, device=device).cumsum(0)

    def multi_view(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """[n * 4, c, h, w] latents, [n, L] ids, [n * 4, 16] cameras of this process's share n of the objects."""
        objects, sets, backgrounds = self._pick(self.objects, generator)
        latents = self.encoded.latents[objects, sets, backgrounds].float().flatten(0, 1)
        ids = self._dropped(self._captions(objects, sets, backgrounds, generator), generator)
        return latents, ids, self.cameras[objects, sets].flatten(0, 1)

    def single_view(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """As many pictures, each of another object, without a camera; some captions say the direction in words."""
        count = self.objects * VIEWS_PER_SET
        objects, sets, backgrounds = self._pick(count, generator)
        views = self._below(VIEWS_PER_SET, count, generator)
        ids = self._captions(objects, sets, backgrounds, generator)
        said = self._below_share(_VIEW_WORDS_SHARE, count, generator)
        with_view = self._appended(ids, self.view_words[self.directions[objects, sets, views]])
        ids = self._dropped(torch.where(said[:, None], with_view, ids), generator)
        cameras = self.cameras.new_zeros(count, self.cameras.shape[-1])
        return self.encoded.latents[objects, sets, backgrounds, views].float(), ids, cameras

    def _pick(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        return tuple(self._below(size, count, generator) for size in self.encoded.latents.shape[:3])

    @staticmethod
    def _below(size: int, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(size, (count,), generator=generator, device=generator.device)

    @staticmethod
    def _below_share(share: float, count: int, generator: torch.Generator) -> Tensor:
        return torch.rand(count, generator=generator, device=generator.device) < share

    def _captions(self, objects: Tensor, sets: Tensor, backgrounds: Tensor, generator: torch.Generator) -> Tensor:
        """[n, L] ids of one caption each, which names the background unless it is plain."""
        place = torch.rand(len(objects), 1, generator=generator, device=generator.device)
        which = (place > self.odds[:-1]).sum(dim=1)
        kinds = self.encoded.kinds[objects, sets, backgrounds].long()
        return self._appended(self.ids[objects, which], self.background_words[kinds])

    def _appended(
        self,
        ids: Tensor,  # [n, L], BOS words EOS EOS ...
        words: Tensor,  # [n, W], words EOS EOS ...
    ) -> Tensor:
        """Rows that go on with `words` where their own end."""
        length = (ids != self.eos).sum(dim=1, keepdim=True)
        place = torch.arange(ids.shape[1], device=ids.device) - length
        later = words.gather(1, place.clamp(0, words.shape[1] - 1))
        return torch.where(place < 0, ids, torch.where(place < words.shape[1], later, self.eos))

    def _dropped(self, ids: Tensor, generator: torch.Generator) -> Tensor:
        return torch.where(self._below_share(CAPTION_DROPOUT, len(ids), generator)[:, None], self.empty, ids)


def _words(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """[N, W] ids of the texts alone, without BOS, filled up with EOS."""
    ids = tokenize(tokenizer, texts)[:, 1:]
    return ids[:, : int((ids != tokenizer.eos_token_id).sum(dim=1).max()) + 1]


def diffusion_stage(
    data: MiniDataset,
    encoded: EncodedDataset,
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    steps: int,
    on_checkpoint: Callable[[int], None],
    objects: int = OBJECTS_PER_STEP,
) -> Stage:
    """v-prediction; the text encoder learns jointly at a quarter of the rate. Two kinds of step, as in MVDream:
    four joint views with their cameras, and single views without one."""
    batches, scheduler = _Batches(data, encoded, tokenizer, objects), build_scheduler()

    def loss(batch: tuple[Tensor, Tensor, Tensor], n_views: int, generator: torch.Generator) -> dict[str, Tensor]:
        clean, ids, cameras = batch
        on: dict[str, Any] = {"generator": generator, "device": generator.device}
        noise = torch.randn(clean.shape, **on)
        # One timestep for the views of an object, which are denoised together.
        t = torch.randint(scheduler.config.num_train_timesteps, (len(ids),), **on)
        t = t.repeat_interleave(n_views, output_size=len(ids) * n_views)
        text = text_encoder(ids).last_hidden_state
        text = text[:, None].expand(-1, n_views, -1, -1).flatten(0, 1)
        predicted = unet(
            scheduler.add_noise(clean, noise, t),
            t,
            encoder_hidden_states=text,
            class_labels=cameras,
            cross_attention_kwargs={"n_views": n_views},
        ).sample
        return {"loss": F.mse_loss(predicted.float(), scheduler.get_velocity(clean, noise, t))}

    def multi(generator: torch.Generator) -> dict[str, Tensor]:
        return loss(batches.multi_view(generator), VIEWS_PER_SET, generator)

    def single(generator: torch.Generator) -> dict[str, Tensor]:
        return loss(batches.single_view(generator), 1, generator)

    return Stage(
        name="diffusion",
        models={"unet": unet, "text_encoder": text_encoder},
        losses={"multi": (1 - SINGLE_VIEW_SHARE, multi), "single": (SINGLE_VIEW_SHARE, single)},
        steps=steps,
        lr=8e-4,
        lr_scale={"text_encoder": 0.25},
        ema_decay=0.999,
        warmup=200,
        on_checkpoint=on_checkpoint,
    )
