"""What a picture shows, in words and as labels."""

from __future__ import annotations

from rs_train.portraits.domains import domain_style
from rs_train.portraits.scene import Scene

_SKIN = ("fair", "light", "tan", "brown", "dark")
_HAIR_COLOURS = ("black", "dark brown", "brown", "auburn", "blond", "light blond", "grey")
_EYE_COLOURS = ("dark brown", "brown", "hazel", "green", "blue", "grey")
_HAIR_WORDS = {
    "short": "short {} hair",
    "side part": "{} hair parted at the side",
    "fringe": "{} hair with a fringe",
    "bob": "a {} bob",
    "long": "long {} hair",
    "curly": "curly {} hair",
    "bun": "{} hair in a bun",
}
_BEARD_WORDS = {
    "stubble": "stubble", "moustache": "a moustache", "goatee": "a goatee", "full": "a full beard",
}  # fmt: skip
_CLOTHES_WORDS = {
    "crew": "jumper", "v-neck": "v-neck jumper", "collar": "shirt", "turtleneck": "turtleneck",
}  # fmt: skip
_HUES = ("red", "orange", "yellow", "green", "green", "teal", "blue", "blue", "purple", "pink")
_EXTRA_WORDS = {
    "hat": "wearing a hat",
    "face paint": "with painted face",
    "hand": "with a raised hand",
    "headphones": "wearing headphones",
    "microphone": "in front of a microphone",
    "mask": "wearing a mask",
    "flower": "with a flower in the hair",
}


def _pick(words: tuple[str, ...], t: float) -> str:
    return words[min(int(t * len(words)), len(words) - 1)]


def hair_colour(scene: Scene) -> str:
    """The hair's colour in words."""
    tone = scene["hair_tone"] * (len(_HAIR_COLOURS) - 1)
    return _HAIR_COLOURS[round(tone)]


def cloth_colour(scene: Scene) -> str:
    """The clothes' colour in words."""
    if scene["clothes_saturation"] < 0.2:
        return "grey"
    hue = _HUES[round(scene["clothes_hue"] * len(_HUES)) % len(_HUES)]
    return f"dark {hue}" if scene["clothes_value"] < 0.35 else hue


def expression(scene: Scene) -> str:
    """The expression in one word."""
    if scene["eyes_closed"] > 0.85:
        return "sleeping"
    if scene["mouth_open"] > 0.55 and scene["smile"] > 0.35:
        return "laughing"
    if scene["mouth_open"] > 0.55:
        return "surprised" if scene["brow_raise"] > 0.4 else "talking"
    if scene["smile"] > 0.4:
        return "smiling"
    return "serious" if scene["smile"] < 0.05 else "calm"


def with_article(words: str) -> str:
    """The words after "a" or "an"."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def caption(scene: Scene, domain: str = "photo") -> str:
    """One sentence about the picture in a domain, a name that `domain_style` knows."""
    colour = hair_colour(scene)
    parts = [] if scene.hair == "bald" else [_HAIR_WORDS[scene.hair].format(colour)]
    if scene.beard != "none":
        parts.append(_BEARD_WORDS[scene.beard])
    if scene.glasses:
        parts.append("glasses")
    style = domain_style(domain)
    who = f"{expression(scene)} {'bald ' if scene.hair == 'bald' else ''}{style.being}"
    text = f"{style.phrase} of a {who}"
    if parts:
        text += " with " + _listed(parts)
    garment = f"{cloth_colour(scene)} {_CLOTHES_WORDS[scene.clothes]}"
    text += f", in {with_article(garment)}"
    for extra in scene.extras:
        text += ", " + _EXTRA_WORDS[extra]
    return text


def attributes(scene: Scene) -> dict[str, float | int | str]:
    """Labels of a picture: the categories, and 0/1 for each thing that may be there."""
    return {
        "identity": scene.identity,
        "expression": expression(scene),
        "smiling": int(scene["smile"] > 0.4),
        "mouth_open": int(scene["mouth_open"] > 0.3),
        "eyes_closed": int(scene["eyes_closed"] > 0.6),
        "glasses": int(scene.glasses),
        "hair": scene.hair,
        "hair_colour": "none" if scene.hair == "bald" else hair_colour(scene),
        "beard": scene.beard,
        "skin_tone": _pick(_SKIN, scene["skin"]),
        "eye_colour": _pick(_EYE_COLOURS, scene["eye_hue"]),
        "clothes": scene.clothes,
        "clothes_colour": cloth_colour(scene),
        "background": scene.background,
        "extras": ", ".join(scene.extras),
        "yaw": round(scene["yaw"], 4),
        "pitch": round(scene["pitch"], 4),
        "roll": round(scene["roll"], 4),
    }
