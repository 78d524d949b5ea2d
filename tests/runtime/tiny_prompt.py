"""The tiny bundle with a prompt part, whose domains can be worked out on paper, too.

tokens             one for each byte of the prompt, between a start (256) and an end (257) token
text               embedding = (tokens that are no padding, 1 where the first is the start) / 100
vision             embedding = mean red and mean green of the picture, 0 to 1
hypernetwork       modulation = 1 + e[0], P = e[1], Q = 1, rank 1
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import parser
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from rs_runtime.contracts.bundle import Manifest, Role, TensorSpec, Variant, write_bundle
from rs_runtime.contracts.prompt import SETTINGS_PATH, TOKENIZER_PATH, PromptSettings
from tests.runtime.tiny_bundle import manifest_and_contents

CONTEXT, START, END, PAD = 24, 256, 257, 0
SETTINGS = PromptSettings(CONTEXT, PAD, END + 1, "looks of flat colours")
_HEAD = '<ir_version: 9, opset_import: ["" : 18]>'
_TEXTS = {
    "text": f"""
text (int64[N, {CONTEXT}] tokens) => (float[N, 2] embedding)
<int64[1] pad = {{{PAD}}}, int64[1] start = {{{START}}}, float[1] hundredth = {{0.01}}>
{{
    last = Constant<value_ints = [1]>()
    empty = Equal(tokens, pad)
    there = Not(empty)
    ones = Cast<to = 1>(there)
    count = ReduceSum<keepdims = 1>(ones, last)
    begin = Constant<value_ints = [0]>()
    first = Slice(tokens, begin, last, last)
    started = Equal(first, start)
    begun = Cast<to = 1>(started)
    both = Concat<axis = 1>(count, begun)
    embedding = Mul(both, hundredth)
}}""",
    "vision": """
vision (uint8[N, 8, 8, 3] image) => (float[N, 2] embedding)
<float[1] top = {255.0}>
{
    x = Cast<to = 1>(image)
    unit = Div(x, top)
    pixels = Constant<value_ints = [1, 2]>()
    mean = ReduceMean<keepdims = 0>(unit, pixels)
    start = Constant<value_ints = [0]>()
    end = Constant<value_ints = [2]>()
    axis = Constant<value_ints = [1]>()
    embedding = Slice(mean, start, end, axis)
}""",
    "hypernetwork": """
hypernetwork (float[N, 2] embedding) => (float[N, 1, 10] P, float[N, 1, 11] Q,
        float[N, 11] modulation)
<float one = {1.0}>
{
    zero_at = Constant<value_ints = [0]>()
    one_at = Constant<value_ints = [1]>()
    two_at = Constant<value_ints = [2]>()
    first = Slice(embedding, zero_at, one_at, one_at)
    second = Slice(embedding, one_at, two_at, one_at)
    change = Add(first, one)
    m_shape = Constant<value_ints = [1, 11]>()
    modulation = Expand(change, m_shape)
    row = Unsqueeze(second, one_at)
    p_shape = Constant<value_ints = [1, 1, 10]>()
    P = Expand(row, p_shape)
    none = Sub(row, row)
    all = Add(none, one)
    q_shape = Constant<value_ints = [1, 1, 11]>()
    Q = Expand(all, q_shape)
}""",
}
_DTYPES = {
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.FLOAT: "float32",
}


def tokenizer_json() -> str:
    """A tokenizer that knows single bytes: token 0 to 255 in the order of their letters."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: n for n, letter in enumerate(alphabet)}, []))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.add_special_tokens(["<start>", "<end>"])
    ends = [("<start>", START), ("<end>", END)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=ends
    )
    return tokenizer.to_str()


def damaged_tokenizer(path: str, value: object) -> bytes:
    """The tokenizer's file with another value at a path like "model.dropout"."""
    tree = json.loads(tokenizer_json())
    *places, last = path.split(".")
    place = tree
    for key in places:
        place = place[key]
    place[last] = value
    return json.dumps(tree).encode()


def manifest_and_contents_with_prompts(**files: bytes) -> tuple[Manifest, dict[str, bytes]]:
    """What ``write_bundle`` needs; `settings` and `tokenizer` replace those files."""
    manifest, contents = manifest_and_contents()
    roles = dict(manifest.roles)
    for name, text in _TEXTS.items():
        model = parser.parse_model(_HEAD + text)
        onnx.checker.check_model(model)
        contents[f"{name}.onnx"] = model.SerializeToString()
        variant = Variant(f"{name}.onnx", "onnxruntime", "fp32", "plain", "dynamic")
        roles[name] = Role(_specs(model.graph.input), _specs(model.graph.output), (variant,))
    contents[SETTINGS_PATH] = files.get("settings", SETTINGS.to_json())
    contents[TOKENIZER_PATH] = files.get("tokenizer", tokenizer_json().encode())
    licences = manifest.licences | {"hypernetwork": "CC-BY-4.0"}
    return replace(manifest, roles=roles, licences=licences), contents


def build_with_prompts(folder: Path, **files: bytes) -> Path:
    """Writes the bundle; arguments as above."""
    write_bundle(folder, *manifest_and_contents_with_prompts(**files))
    return folder


def tint(first: float, second: float) -> np.ndarray:
    """What the domain of an embedding adds to the (red, green, blue) of image_float."""
    return np.array([0.0, 10 * second * 11 / 1000, 0.1 * first])


def prompt_tint(prompt: str) -> np.ndarray:
    """The same for a prompt that fits."""
    return tint((len(prompt.encode()) + 2) / 100, 0.01)


def _specs(values) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            value.name,
            _DTYPES[value.type.tensor_type.elem_type],
            tuple(side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim),
        )
        for value in values
    )
