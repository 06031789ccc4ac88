"""A whole prompt distribution in one pass: pictures in, a file like any other out, nothing optimised."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from dreamdist3d.apprentice.details import MOST, seen_twice
from dreamdist3d.apprentice.inputs import load_inputs
from dreamdist3d.apprentice.knownness import SIZES, features, knownness, oddness
from dreamdist3d.apprentice.network import homes_of
from dreamdist3d.apprentice.storage import Trained
from dreamdist3d.backbones import Backbone
from dreamdist3d.errors import UserError
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.learning.coupling import LIMIT
from dreamdist3d.prompts.learning.images import CONTENT_ORDER, ReferenceImages, encode_references

PROMPTS = 32  # K at least; every picture has a prompt of its own
MOST_PICTURES = 256


@torch.no_grad()
def instant(
    backbone: Backbone,
    trained: Trained,
    references: ReferenceImages,
    prompts: int | None = None,
    prefix: str = "",
    suffix: str = "",
    details: bool = False,
) -> PromptDistribution:
    """The distribution that `trained` makes of 1 to 256 pictures; the same, bit by bit, for any order of them.

    Its metadata say under `knownness` how well the pictures lie in what the apprentice knows; those of an apprentice
    that was never calibrated do not.

    Args:
        prompts: K; None: 32, or one for each picture where there are more.
        prefix, suffix: words around the tokens.
        details: put the first pictures themselves into the file, for a UNet that sees them (`see_references`).

    Raises:
        UserError: the apprentice is for another text encoder or picture size, or shows no details, or there are too
            many pictures.
    """
    trained.check_encoder(backbone)
    if len(references) > MOST_PICTURES:
        raise UserError(
            f"{len(references)} pictures are more than the {MOST_PICTURES} an apprentice looks at: take some."
        )
    references = references.in_content_order()
    latents = encode_references(backbone, references.pixels).mean.float()
    inputs = load_inputs(trained.inputs, backbone)(references.pixels, latents)
    made = distribution_of(backbone, trained, inputs, latents, prompts)
    facts = {"references": str(len(references)), "references_sha256": references.content_hash, **made.metadata}
    made = replace(made, prefix=prefix, suffix=suffix, metadata=facts)
    return _with_details(trained, made, inputs[:MOST]) if details else made


def _with_details(
    trained: Trained,
    made: PromptDistribution,
    inputs: Tensor,  # [n, P, F]
) -> PromptDistribution:
    if trained.details is None:
        raise UserError("this apprentice was not trained to show pictures to the UNet: leave --details out.")
    shown = trained.details.to(inputs.device)(seen_twice(trained.apprentice, inputs[None]))[0]
    return replace(made, references=shown, reference_attention=trained.reference_attention)


@torch.no_grad()
def distribution_of(
    backbone: Backbone,
    trained: Trained,
    inputs: Tensor,  # [N, P, F]
    latents: Tensor,  # [N, c, h, w], of the same pictures
    prompts: int | None = None,
) -> PromptDistribution:
    """As `instant`, of pictures that are encoded already, in their order.

    Raises:
        UserError: the apprentice was trained on other patches.
    """
    config = trained.apprentice.config
    if inputs.shape[1:] != (config.patches, config.features):
        raise UserError(
            f"the apprentice sees {config.patches} patches of {config.features} numbers, these pictures have "
            f"{inputs.shape[1]} of {inputs.shape[2]}: use the backbone it was trained with."
        )
    apprentice = trained.apprentice.to(inputs.device)
    patches, summaries = apprentice.encode(inputs[None])
    homes = homes_of(prompts or max(PROMPTS, len(inputs)), len(inputs)).to(inputs.device)
    tokens = apprentice.decode(patches, summaries, homes[None])[0]
    facts = {"backbone": backbone.name, "objective": "instant", "order": CONTENT_ORDER}
    if "scores" in trained.known:
        score = oddness(trained.known, features(backbone, latents[: SIZES[-1]]))
        known = knownness(trained.known["scores"], score, len(latents))
        facts["knownness"] = f"{known:.4f}"
    return PromptDistribution(tokens, "low_rank", backbone.fingerprint, metadata=facts, limit=LIMIT)


def packaged_apprentice(backbone: Backbone) -> Path:
    """The file that ships with the package for this backbone.

    Raises:
        UserError: there is none.
    """
    path = Path(str(files("dreamdist3d.apprentice"))) / "weights" / "mini.safetensors"
    if backbone.name != "mini":
        raise UserError(
            f"no apprentice ships for {backbone.name}: train one (docs/instant.md) and give it with --apprentice FILE, "
            "or leave --instant out."
        )
    if not path.is_file():
        raise UserError(f"{path} is missing: install the package again.")
    return path
