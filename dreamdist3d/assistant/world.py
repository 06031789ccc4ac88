"""What the miniature assistant knows beyond attributes: moods, darker and lighter, and what cannot be made."""

from dreamdist3d.assistant.intentions import Change, Seen

# A mood: the words that tell it, and what suits it, the best first. Each has three colours, two patterns and two
# materials, so that two proposals are left whatever a thing is already and whichever of these is to stay.
MOODS: dict[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...]]] = {
    "cold": (
        ("cold", "winter", "snow", "ice", "frosty", "january"),
        (
            ("color", "blue"),
            ("color", "white"),
            ("color", "teal"),
            ("material", "glossy"),
            ("pattern", "plain"),
            ("pattern", "dotted"),
            ("material", "metallic"),
        ),
    ),
    "warm": (
        ("warm", "summer", "fire", "sunny", "hot", "july"),
        (
            ("color", "orange"),
            ("color", "red"),
            ("color", "yellow"),
            ("pattern", "two-tone"),
            ("pattern", "striped"),
            ("material", "glossy"),
            ("material", "matt"),
        ),
    ),
    "autumn": (
        ("autumn", "fall", "october", "harvest"),
        (
            ("color", "brown"),
            ("color", "orange"),
            ("color", "yellow"),
            ("material", "matt"),
            ("pattern", "dotted"),
            ("pattern", "checked"),
            ("material", "glossy"),
        ),
    ),
    "spooky": (
        ("spooky", "scary", "halloween", "night", "haunted", "witch"),
        (
            ("color", "black"),
            ("color", "purple"),
            ("color", "gray"),
            ("color", "orange"),
            ("material", "matt"),
            ("pattern", "striped"),
            ("pattern", "two-tone"),
            ("material", "metallic"),
        ),
    ),
    "elegant": (
        ("elegant", "luxury", "fancy", "noble", "expensive", "wedding"),
        (
            ("color", "white"),
            ("color", "black"),
            ("material", "glossy"),
            ("material", "metallic"),
            ("color", "gray"),
            ("pattern", "plain"),
            ("pattern", "two-tone"),
        ),
    ),
    "cheerful": (
        ("cheerful", "happy", "party", "birthday", "funny", "carnival"),
        (
            ("color", "yellow"),
            ("pattern", "dotted"),
            ("color", "pink"),
            ("pattern", "striped"),
            ("color", "orange"),
            ("material", "glossy"),
            ("material", "matt"),
        ),
    ),
    "natural": (
        ("natural", "forest", "garden", "woods", "leafy", "jungle"),
        (
            ("color", "green"),
            ("color", "brown"),
            ("material", "matt"),
            ("pattern", "plain"),
            ("color", "yellow"),
            ("pattern", "dotted"),
            ("material", "glossy"),
        ),
    ),
    "sea": (
        ("sea", "ocean", "beach", "sailor", "pirate", "harbour"),
        (
            ("color", "teal"),
            ("color", "blue"),
            ("pattern", "striped"),
            ("color", "white"),
            ("pattern", "plain"),
            ("material", "glossy"),
            ("material", "matt"),
        ),
    ),
    "spring": (
        ("spring", "flowers", "april", "easter", "blossom"),
        (
            ("color", "pink"),
            ("color", "green"),
            ("color", "yellow"),
            ("pattern", "dotted"),
            ("pattern", "plain"),
            ("material", "matt"),
            ("material", "glossy"),
        ),
    ),
    "sporty": (
        ("sporty", "fast", "racing", "race", "football"),
        (
            ("pattern", "striped"),
            ("color", "red"),
            ("pattern", "checked"),
            ("material", "glossy"),
            ("color", "white"),
            ("color", "blue"),
            ("material", "metallic"),
        ),
    ),
    "old": (
        ("old", "rusty", "vintage", "antique", "dusty", "ancient"),
        (
            ("color", "brown"),
            ("color", "gray"),
            ("material", "matt"),
            ("pattern", "plain"),
            ("color", "black"),
            ("pattern", "checked"),
            ("material", "metallic"),
        ),
    ),
    "futuristic": (
        ("futuristic", "future", "robot", "space", "machine", "modern"),
        (
            ("material", "metallic"),
            ("color", "gray"),
            ("color", "white"),
            ("color", "teal"),
            ("material", "glossy"),
            ("pattern", "plain"),
            ("pattern", "two-tone"),
        ),
    ),
    "sweet": (
        ("sweet", "candy", "cute", "sugar", "bakery", "toy"),
        (
            ("color", "pink"),
            ("pattern", "striped"),
            ("pattern", "dotted"),
            ("color", "purple"),
            ("color", "white"),
            ("material", "glossy"),
            ("material", "matt"),
        ),
    ),
    "calm": (
        ("calm", "quiet", "sleepy", "peaceful", "relaxing"),
        (
            ("color", "gray"),
            ("color", "blue"),
            ("color", "white"),
            ("pattern", "plain"),
            ("material", "matt"),
            ("pattern", "two-tone"),
            ("material", "glossy"),
        ),
    ),
    "royal": (
        ("royal", "king", "queen", "castle", "princess"),
        (
            ("color", "purple"),
            ("color", "red"),
            ("material", "metallic"),
            ("color", "yellow"),
            ("material", "glossy"),
            ("pattern", "plain"),
            ("pattern", "two-tone"),
        ),
    ),
}
SURPRISE = (("color", "any"), ("pattern", "any"), ("material", "any"))

DARKER = {
    "red": "brown", "orange": "brown", "yellow": "orange", "green": "black", "teal": "blue", "blue": "black",
    "purple": "black", "pink": "purple", "brown": "black", "white": "gray", "gray": "black",
}  # fmt: skip
LIGHTER = {
    "red": "pink", "orange": "yellow", "yellow": "white", "green": "yellow", "teal": "white", "blue": "teal",
    "purple": "pink", "pink": "white", "brown": "orange", "gray": "white", "black": "gray",
}  # fmt: skip
RELATIVE = {"darker": DARKER, "lighter": LIGHTER}

# Wishes that the miniature world cannot fulfil, by the reason why.
IMPOSSIBLE: dict[str, tuple[str, ...]] = {
    "material": ("glass", "transparent", "wooden", "furry", "wool", "leather", "marble", "plastic", "stone"),
    "color": ("gold", "silver", "turquoise", "beige", "violet", "rainbow", "magenta", "olive"),
    "thing": (
        "dragon",
        "dog",
        "cat",
        "horse",
        "person",
        "robot dog",
        "tiger",
        "elephant",
        "piano",
        "guitar",
        "bicycle",
    ),
    "number": ("two of them", "three of them", "a row of them", "a pair", "a dozen", "many of them"),
    "motion": ("dance", "move", "fly", "jump", "spin", "sing", "talk"),
    "writing": ("my name", "some text", "a logo", "a number", "letters", "a face"),
    "place": ("a table", "a street", "a mountain", "a kitchen", "a river", "a room"),
}
REASONS = {
    "material": "things here are matt , glossy or metallic and nothing else",
    "color": "there are twelve colours here and that is none of them",
    "thing": "i know twenty kinds of things and that is none of them",
    "number": "a picture here holds one thing only",
    "motion": "i make things that stand still",
    "writing": "the patterns here are stripes , dots , checks and two tones",
    "place": "behind a thing there is a plain , gradient or textured background and no place",
}


def proposals_for(candidates: tuple[tuple[str, str], ...], seen: Seen, keep: str = "", most: int = 3) -> list[Change]:
    """The first `most` candidates that change something; `keep` names what stays: "color", "pattern" or "shape"."""
    kept = {"color": ("color", "second", "part"), "pattern": ("pattern", "second")}.get(keep, ())
    changes = [Change(kind, value) for kind, value in candidates if kind not in kept and getattr(seen, kind) != value]
    return changes[:most]
