"""From an edit to a picture that shows it: of a few candidates the truest, then the nearest to what is wanted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.assistant.edit import Edit
from dreamdist3d.assistant.grammar.words import in_words, part_of
from dreamdist3d.assistant.inputs import PictureInputs
from dreamdist3d.assistant.intentions import Change, Seen
from dreamdist3d.assistant.subjects import Subject
from dreamdist3d.assistant.truth import Verdict, background_of, main_color, shared_colors, shows_color, verdicts
from dreamdist3d.backbones import Backbone, latent_shape, sample_images
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder
from dreamdist3d.prompts.looks.pictures import rescale_for
from dreamdist3d.randomness import generator_for

GUIDANCE, GUIDANCE_PICTURED = 5.0, 3.0  # towards words alone; towards a picture too, which is a stronger pull
STEPS = 8  # of DDIM
CANDIDATES = 3  # seeds tried for each proposal
# Share of a given picture in the initial noise: where its colours are to stay, where they change, where its shape does.
BEGUN_KEPT, BEGUN, BEGUN_FREELY = 0.35, 0.2, 0.07
RECOLORED = {"color", "second", "pattern"}  # changes after which other colours cover most of a thing
FURTHER = 7  # between their seeds


@dataclass(frozen=True, eq=False)
class Proposal:
    """A picture, the edit that makes it again, and what is true of it."""

    picture: Tensor  # [3, S, S] in [0, 1]
    edit: Edit
    changes: tuple[Change, ...]  # what the request asked for
    target: Seen  # what the picture should show
    verdicts: list[Verdict]
    words: str
    lift: str  # shell command
    file: PromptDistribution | None = None  # what it is made of, where words alone do not tell it

    @property
    def holds(self) -> bool:
        """Whether nothing that was asked for and could be measured is missing."""
        return all(verdict.holds is not False for verdict in self.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; the picture is not in it."""
        return {
            "edit": self.edit.to_dict(),
            "changes": [vars(change) for change in self.changes],
            "words": self.words,
            "measured": [
                {"kind": v.change.kind, "asked": v.change.value, "measured": v.measured, "holds": v.holds}
                for v in self.verdicts
            ],
            "lift": self.lift,
        }


class Proposer:
    """Samples pictures of edits and holds them against what was asked for.

    Args:
        backbone: of the subject.
        inputs: encoders in whose space a picture may be wanted.
        steps: of DDIM.
        candidates: seeds tried for each proposal.
    """

    def __init__(
        self, backbone: Backbone, inputs: PictureInputs, steps: int = STEPS, candidates: int = CANDIDATES
    ) -> None:
        self.backbone, self.inputs, self.steps, self.candidates = backbone, inputs, steps, candidates
        self._encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
        self._negative = self._encoder.encode_text([""]).hidden[0]

    def sample(
        self,
        subject: Subject,
        edits: Sequence[Edit],
        origin: Tensor | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """One picture of each edit [N, 3, S, S]; it depends on its edit, the origin and what is wanted alone.

        Args:
            subject, edits: what to make.
            wanted: embeddings [N, S] of the pictures wanted, for a subject that the UNet sees.
            origin: the picture given [3, S, S], if any: the initial noise holds a little of its latents (as SDEdit,
                Meng et al. 2022, but at the last noise level), which keeps view, place and background.
        """
        noise = self._noise(edits, origin)
        text = subject.embed(edits, self._encoder)
        if (seen := subject.references(edits, wanted)) is not None:
            text = torch.cat([text, seen.to(text)], dim=1)
        rescale = rescale_for(self.backbone)
        scales = torch.tensor([GUIDANCE_PICTURED if edit.pictured else GUIDANCE for edit in edits])
        guidance = scales[:, None, None, None].to(self.backbone.device)
        made = sample_images(self.backbone, text, self._negative, noise, guidance, self.steps, rescale=rescale)
        return made.float().cpu()

    def propose(
        self,
        subject: Subject,
        edits: Sequence[Edit],
        changes: Sequence[Sequence[Change]],
        targets: Sequence[Seen],
        wanted: Tensor | None = None,  # [N, S]
        before: Tensor | None = None,  # [3, S, S]
        origin: Tensor | None = None,  # [3, S, S]
    ) -> list[Proposal]:
        """The best candidate of each edit: what holds comes first, then what keeps the most.

        Where colours and ground are to stay that is the one with the most of the colours there were, elsewhere the
        nearest to the wanted embedding.

        Where the UNet sees the picture given and nothing comes of it that holds and can be measured, the same is
        tried from words alone.

        Args:
            subject, edits: what to make; the candidates have the edit's seeds and some after them.
            changes: what each was asked for.
            targets: what each should show.
            wanted: embeddings of the pictures wanted; None: the first candidate that holds.
            before: the picture that was there before.
            origin: as in `sample`.
        """
        found = self._best(subject, edits, changes, targets, wanted, before, origin)
        for i, one in enumerate(found):
            if one.edit.pictured and not (one.holds and background_of(one.picture) == "plain"):
                plain = replace(edits[i], pictured=False)
                near = None if wanted is None else wanted[i : i + 1]
                (other,) = self._best(subject, [plain], [changes[i]], [targets[i]], near, before, origin)
                found[i] = other if _truth(other.verdicts) > _truth(one.verdicts) else one
        return found

    def _best(
        self,
        subject: Subject,
        edits: Sequence[Edit],
        changes: Sequence[Sequence[Change]],
        targets: Sequence[Seen],
        wanted: Tensor | None,
        before: Tensor | None,
        origin: Tensor | None,
    ) -> list[Proposal]:
        each = None if wanted is None else wanted.repeat_interleave(self.candidates, dim=0)
        tried = [self._with_seeds(edit) for edit in edits]
        all_tried = [one for group in tried for one in group]
        pictures = self.sample(subject, all_tried, origin, each).split(self.candidates)
        found = []
        for i, group in enumerate(tried):
            judged = [verdicts(picture, changes[i], targets[i], before) for picture in pictures[i]]
            kinds = {change.kind for change in changes[i]}
            if before is not None and kinds and not kinds & {*RECOLORED, "background"}:
                near = [shared_colors(picture, before) for picture in pictures[i]]
            else:
                near = self._nearness(pictures[i], None if wanted is None else wanted[i])
            best = max(range(len(group)), key=lambda k: (_truth(judged[k]), near[k]))
            words = told(pictures[i][best], tuple(changes[i]), targets[i], judged[best])
            lift = subject.lift(group[best], self.backbone.name)
            file = subject.file(group[best], None if wanted is None else wanted[i], self._encoder)
            asked = tuple(changes[i])
            found.append(Proposal(pictures[i][best], group[best], asked, targets[i], judged[best], words, lift, file))
        return found

    def _noise(self, edits: Sequence[Edit], origin: Tensor | None) -> Tensor:
        shape = latent_shape(self.backbone)
        noise = torch.stack([torch.randn(*shape, generator=generator_for(e.noise_seed, "assistant")) for e in edits])
        if origin is None:
            return noise
        share = torch.tensor([_begun(edit) for edit in edits])[:, None, None, None]
        return share * self.backbone.encode_images(origin[None] * 2 - 1).cpu() + (1 - share**2).sqrt() * noise

    def _with_seeds(self, edit: Edit) -> list[Edit]:
        return [
            replace(edit, draw_seed=edit.draw_seed + FURTHER * k, noise_seed=edit.noise_seed + FURTHER * k)
            for k in range(self.candidates)
        ]

    def _nearness(self, pictures: Tensor, wanted: Tensor | None) -> list[float]:
        if wanted is None:
            return [-float(k) for k in range(len(pictures))]
        return F.cosine_similarity(self.inputs(pictures)[1], wanted[None]).tolist()


def _begun(edit: Edit) -> float:
    if edit.asked.get("background", "plain") != "plain":
        return 0.0
    if "shape" in edit.asked:
        return BEGUN_FREELY
    return BEGUN if edit.asked.keys() & RECOLORED else BEGUN_KEPT


def _truth(found: Sequence[Verdict]) -> float:
    """0 where everything is measured and holds; what cannot be measured counts half."""
    return -sum({True: 0.0, None: 0.5, False: 1.0}[verdict.holds] for verdict in found)


def told(picture: Tensor, changes: Sequence[Change], target: Seen, found: Sequence[Verdict]) -> str:
    """One proposal in words that are true of its picture: what is measured, then what was asked and could not be."""
    parts = [f"a {shown_in_words(picture, target)}"]
    for verdict in found:
        asked = in_words(verdict.change, target.family)
        if verdict.holds is None:
            parts.append(f"asked for {asked}, which is not measured")
        elif not verdict.holds:
            seen = f"measured {verdict.measured}" if verdict.measured else "it does not show"
            kind = verdict.change.kind
            parts.append(f"{_named(kind, target)} is not what was asked for ({seen})")
        elif verdict.change.kind not in ("color", "part"):
            parts.append(asked)
    return ", ".join(parts) + "."


def _named(kind: str, target: Seen) -> str:
    return {"color": "the colour", "part": "the colour of the second part", "second": "the second colour"}.get(
        kind, f"the {kind}"
    )


def shown_in_words(picture: Tensor, target: Seen) -> str:
    """`teal and white mug with red handle`: colours only where the picture has them."""
    if background_of(picture) != "plain":
        return target.family
    meant = [color for color in (target.color, target.second) if color and shows_color(picture, color)]
    colors = " and ".join(meant) or main_color(picture, target.family)
    text = f"{colors} {target.family}".strip()
    if target.part_color and shows_color(picture, target.part_color):
        return f"{text} with {target.part_color} {part_of(target)}"
    return text
