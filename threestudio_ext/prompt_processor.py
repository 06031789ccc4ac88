"""`dreamdist3d-prompt-processor`: a draw of a prompt distribution, under threestudio's view directions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Optional  # noqa: UP035 (OmegaConf reads the annotations threestudio's way)

import threestudio
from threestudio.models.prompt_processors.base import PromptProcessor
from threestudio.utils.misc import barrier, cleanup

from dreamdist3d.config import PromptProcessorConfig
from dreamdist3d.errors import UserError
from dreamdist3d.files import write_json
from dreamdist3d.guidance.directions import DIRECTIONS, view_words
from dreamdist3d.threestudio import draws
from dreamdist3d.threestudio.prompts import encode_prompt, label_of

from .errors import one_line_errors

NAME = "dreamdist3d-prompt-processor"


@threestudio.register(NAME)
class DistributionPromptProcessor(PromptProcessor):
    """One draw, encoded in this process by every rank for itself.

    threestudio's cache of text embeddings is neither read nor written: its key is the prompt's text, which two
    draws have in common.
    """

    @dataclass
    class Config(PromptProcessor.Config):
        """The base class's keys, and those of dreamdist3d's own configuration.

        `pretrained_model_name_or_path` names the model whose text encoder the distribution was learned with.
        `record` is set by the extension: the file that keeps the draw of a run.
        """

        prompt: str = ""
        pretrained_model_name_or_path: str = "sd21"
        distribution: Any = None  # a path, or a list of them
        weights: Optional[List[float]] = None  # noqa: UP006, UP045
        composition: str = "blend"
        prefix: Optional[str] = None  # noqa: UP045
        suffix: Optional[str] = None  # noqa: UP045
        gamma: float = 1.0
        draw_seed: Optional[int] = None  # noqa: UP045
        antithetic: bool = False
        record: Optional[str] = None  # noqa: UP045

    def configure(self) -> None:
        """As the base class, which calls the three methods below."""
        with one_line_errors():
            self._settings = draws.settings_of(self.cfg)
            check_keys(self.cfg, self._settings)
            super().configure()

    def preprocess_prompt(self, prompt: str) -> str:
        """The prompt in words, for logs; a drawn one is named by its files and seed."""
        if not self._settings.files:
            return super().preprocess_prompt(prompt)
        if prompt:
            threestudio.info("With a distribution, `prompt` is not read: put words into prefix and suffix.")
        return label_of(self._settings)

    def prepare_text_embeddings(self) -> None:
        """Nothing: there is no cache to fill."""

    def load_text_embeddings(self) -> None:
        """Encode, and make sure that it is the draw this run was begun with."""
        words = view_words(self.cfg.view_dependent_prompt_front)
        texts = [self.prompt, *self.prompts_vd]
        negatives = [self.negative_prompt, *self.negative_prompts_vd]
        model = self.cfg.pretrained_model_name_or_path
        found = encode_prompt(self._settings, model, words, texts, negatives, self.device)
        if found.identity and self.cfg.record:
            self._keep(found.identity, Path(self.cfg.record))
        self.text_embeddings, self.uncond_text_embeddings = found.text, found.negative
        self.text_embeddings_vd, self.uncond_text_embeddings_vd = found.text_views, found.negative_views
        cleanup()

    @staticmethod
    def _keep(identity: dict[str, Any], record: Path) -> None:
        if draws.leads() and not record.exists():
            write_json(record, identity)
        barrier()
        draws.check(record, identity)


def check_keys(cfg: Any, settings: PromptProcessorConfig) -> None:
    """Refuse, beside a distribution, keys of the base class that are about plain text.

    Raises:
        UserError: there is one; or the draw is not concrete.
    """
    if not settings.files:
        return
    if settings.draw_seed is None:
        raise UserError("draw_seed must be a number here: only a configuration file's null is made a fresh one.")
    if cfg.use_prompt_debiasing:
        raise UserError("use_prompt_debiasing removes words of a plain prompt: leave it out with a distribution.")
    for direction in DIRECTIONS:
        if getattr(cfg, f"prompt_{direction}") is not None:
            raise UserError(f"prompt_{direction} is a plain text: with a distribution use prefix and suffix.")
