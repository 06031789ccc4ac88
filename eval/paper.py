"""What the paper published, to stand beside our numbers and never among them."""

from typing import Any

TABLE_4: dict[str, Any] = {
    "source": "DreamDistribution, appendix C.9, Table 4",
    "note": (
        "Published, not measured here, and not comparable with numbers of other encoders, objects or renders: MVDream "
        "at full size, average pairwise cosine similarity of the features of rendered images. The paper states "
        "neither the number of assets, nor the views, nor the encoders' variants."
    ),
    "columns": ["CLIP-I", "DINO"],
    "rows": [
        {"method": "Textual Inversion", "CLIP-I": 0.63, "DINO": 0.31},
        {"method": "DreamDistribution", "CLIP-I": 0.53, "DINO": 0.14},
    ],
}
