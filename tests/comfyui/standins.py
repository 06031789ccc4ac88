"""What the nodes need of ComfyUI, as small as can be: folders of models, a CLIP over a transformers text encoder."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from transformers import CLIPTextModel


def folder_paths(models: Path) -> SimpleNamespace:
    """As ComfyUI's module of that name."""
    known: dict[str, tuple[list[str], set[str]]] = {}

    def add(name: str, path: str) -> None:
        known.setdefault(name, ([], set()))[0].append(path)

    def full(name: str, file: str) -> str:
        path = Path(known[name][0][0], file)
        if not path.is_file():
            raise FileNotFoundError(file)
        return str(path)

    return SimpleNamespace(
        models_dir=str(models),
        folder_names_and_paths=known,
        add_model_folder_path=add,
        get_filename_list=lambda name: sorted(path.name for path in Path(known[name][0][0]).glob("*.safetensors")),
        get_full_path_or_raise=full,
    )


class Transformer(nn.Module):
    """With ComfyUI's names of weights, and the projection that transformers leaves out."""

    def __init__(self, model: CLIPTextModel) -> None:
        super().__init__()
        self.text_model = getattr(model, "text_model", model)
        self.text_projection = nn.Linear(4, 4)
        self.whole = [model]  # not a part of it

    def get_input_embeddings(self) -> nn.Module:
        return self.whole[0].get_input_embeddings()


class Side(nn.Module):
    """`SDClipModel`: vectors stand among the numbers of tokens."""

    def __init__(self, model: CLIPTextModel) -> None:
        super().__init__()
        self.transformer, self.layer = Transformer(model), "last"
        self.num_layers = model.config.num_hidden_layers

    def encode_token_weights(self, rows: list[list[tuple[Any, float]]]) -> tuple[torch.Tensor, None]:
        model = self.transformer.whole[0]
        table, found = model.get_input_embeddings(), []
        for row in rows:
            assert all(weight == 1.0 for _, weight in row)
            vectors = torch.stack([t if torch.is_tensor(t) else table.weight[t] for t, _ in row]).detach()
            hook = table.register_forward_hook(lambda *_, v=vectors: v[None])
            found.append(model(input_ids=torch.zeros(1, len(row), dtype=torch.long))[0])
            hook.remove()
        return torch.cat(found, dim=-2), None


def clip(model: CLIPTextModel, tokenizer: Any, name: str = "l") -> SimpleNamespace:
    """A CLIP as CheckpointLoaderSimple gives it."""
    side = Side(model)
    words = SimpleNamespace(
        tokenizer=tokenizer, pad_token=tokenizer.pad_token_id, max_length=model.config.max_position_embeddings
    )
    stage = SimpleNamespace(clip=f"clip_{name}", clip_name=name, **{f"clip_{name}": side})
    return SimpleNamespace(
        cond_stage_model=stage,
        tokenizer=SimpleNamespace(**{f"clip_{name}": words}),
        patcher=SimpleNamespace(backup={}),
        layer_idx=None,
        encode_from_tokens=lambda tokens, return_pooled=False: side.encode_token_weights(tokens[name]),
    )
