"""A node for the tests alone: writes what comes in to a file."""

import os

from safetensors.torch import save_file


class Keep:
    CATEGORY = "tests"
    RETURN_TYPES = ()
    FUNCTION = "keep"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"name": ("STRING", {})},
            "optional": {"conditioning": ("CONDITIONING",), "latent": ("LATENT",)},
        }

    def keep(self, name, conditioning=None, latent=None):
        value = latent["samples"] if conditioning is None else conditioning[0][0]
        save_file({"value": value.clone().contiguous()}, os.path.join(os.environ["KEEP"], name))
        return {}


NODE_CLASS_MAPPINGS = {"Keep": Keep}
