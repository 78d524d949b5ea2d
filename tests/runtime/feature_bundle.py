"""A bundle with a feature map whose pictures can be worked out on paper.

With c the colour that the synthesis of `tiny_bundle` makes of latents and tokens:

feature encoder    w_plus as its base inverter; feature = c / 2 + 0.1, c of these latents alone
lower part         feature = c / 2, rgb = c / 4
shift              feature + 3 (lower_domain - lower_source)
upper part         image = feature + rgb + c / 4
"""

from pathlib import Path

from rs_runtime.contracts.bundle import write_bundle
from tests.runtime.tiny_bundle import TEXTS, manifest_and_contents

DETAIL = 0.1
SHIFT = 3.0
_FLAT = """
    maps = Constant<value_ints = [2, 3]>()
    pixel = Unsqueeze(tinted, maps)
    shape = Constant<value_ints = [1, 3, 4, 4]>()
    flat = Expand(pixel, shape)"""
_FEATURE_TEXTS = {
    "feature_encoder": """
feature_encoder (uint8[N, 8, 8, 3] image) => (float[N, 4, 2] w_plus, float[N, 3, 4, 4] feature)
<float[1] half_range = {127.5}, float[1] one_f = {1.0}, float[1] half = {0.5},
 float[1] detail = {DETAIL}>
{
    x = Cast<to = 1>(image)
    scaled = Div(x, half_range)
    unit = Sub(scaled, one_f)
    pixels = Constant<value_ints = [1, 2]>()
    mean = ReduceMean<keepdims = 0>(unit, pixels)
    last = Constant<value_ints = [2]>()
    rows = Unsqueeze(mean, last)
    pads = Constant<value_ints = [0, 0, 0, 0, 1, 1]>()
    w_plus = Pad(rows, pads)
    maps = Constant<value_ints = [2, 3]>()
    pixel = Unsqueeze(mean, maps)
    shape = Constant<value_ints = [1, 3, 4, 4]>()
    flat = Expand(pixel, shape)
    halved = Mul(flat, half)
    feature = Add(halved, detail)
}""".replace("{DETAIL}", f"{{{DETAIL}}}"),
    "synthesis_lower": """
synthesis_lower (INPUTS) => (float[N, 3, 4, 4] feature, float[N, 3, 4, 4] rgb)
<CONSTANTS, float[1] half = {0.5}, float[1] quarter = {0.25}>
{
COLOUR
FLAT
    feature = Mul(flat, half)
    rgb = Mul(flat, quarter)
}""".replace("FLAT", _FLAT),
    "feature_shift": """
feature_shift (float[N, 3, 4, 4] feature, float[N, 3, 4, 4] lower_source,
        float[N, 3, 4, 4] lower_domain) => (float[N, 3, 4, 4] shifted)
<float[1] factor = {SHIFT}>
{
    difference = Sub(lower_domain, lower_source)
    change = Mul(difference, factor)
    shifted = Add(feature, change)
}""".replace("{SHIFT}", f"{{{SHIFT}}}"),
    "synthesis_upper": """
synthesis_upper (float[N, 3, 4, 4] feature, float[N, 3, 4, 4] rgb, INPUTS)
    => (uint8[N, 8, 8, 3] image, float[N, 3, 8, 8] image_float)
<CONSTANTS, float[1] quarter = {0.25}, float[4] scales = {1.0, 1.0, 2.0, 2.0}>
{
COLOUR
FLAT
    part = Mul(flat, quarter)
    skip = Add(rgb, part)
    small = Add(feature, skip)
    image_float = Resize<mode = "nearest">(small, , scales)
TO_UINT8
}""".replace("FLAT", _FLAT),
}


def build(folder: Path) -> Path:
    """Writes the bundle; its whole synthesis, mapping and domains are those of `tiny_bundle`."""
    shared = {role: TEXTS[role] for role in ("preprocess", "mapping", "synthesis")}
    write_bundle(folder, *manifest_and_contents("feature_shift", _FEATURE_TEXTS | shared))
    return folder
