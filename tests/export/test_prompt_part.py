"""The prompt part of a bundle: a CLIP and a hypernetwork, from checkpoints to the runtime."""

import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

import rs_runtime
from rs_export.graphs.role import TracedRole
from rs_export.graphs.text import PROMPTS
from rs_export.prompt_part import PromptSources, load_prompt_part, prompt_files, prompt_roles
from rs_export.sources import find_sources
from rs_runtime.contracts.bundle import read_bundle
from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_runtime.contracts.prompt import SETTINGS_PATH, TOKENIZER_PATH, PromptSettings
from rs_runtime.engines.select import installed
from rs_runtime.prompts import CutPromptWarning, PromptReader
from rs_train.checkpoint import load_model, save_model
from rs_train.perceptual.clip import Clip, ClipConfig
from tests.export.test_rs_export import rs_export
from tests.export.tiny_model import SIZE, short_trunk, tiny_generator
from tests.export.tiny_prompt import CONTEXT, save_prompt_part, tiny_clip, tiny_hypernetwork

LONG = "a face in charcoal, " * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory, checkpoints) -> Path:
    """Checkpoints of the tiny model, and of a prompt part that predicts tokens."""
    folder = tmp_path_factory.mktemp("prompts") / "checkpoints"
    shutil.copytree(checkpoints, folder)
    save_prompt_part(folder, tiny_generator(), "tokens")
    return folder


@pytest.fixture(scope="module")
def bundle(folder, traced) -> Path:
    """A bundle of a base inverter with the prompt part; its other roles are traced already."""
    out = folder.parent / "bundle"
    trace = TracedRole.intermediate
    with (
        short_trunk(),
        mock.patch.object(TracedRole, "intermediate", lambda r: traced.get(r.name) or trace(r)),
    ):
        assert rs_export("--model=base", "--fp16", "--checkpoint", folder, "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def clip(folder) -> Clip:
    return load_model(folder / "prompt_clip.safetensors")


def test_the_bundle_says_what_it_understands(bundle, clip):
    manifest = read_bundle(bundle).manifest
    assert {"text", "vision", "hypernetwork"} < manifest.roles.keys()
    assert manifest.licences["hypernetwork"] == "CC-BY-4.0"
    assert manifest.record["checkpoints"]["prompt_clip"]["kind"] == "clip"
    assert {golden.role for golden in manifest.golden} == manifest.roles.keys()
    settings = PromptSettings.from_json((bundle / SETTINGS_PATH).read_bytes(), "settings")
    assert settings.context_length == CONTEXT
    assert settings.vocabulary == clip.network.vocab_size
    assert settings.knows.endswith('the 2 of its training, among them "a charcoal drawing of a '
                                   'face", "an oil painting of a face"')  # fmt: skip
    for name in ("text", "vision", "hypernetwork"):
        role = manifest.roles[name]
        assert all(spec.shape[0] == "N" for spec in (*role.inputs, *role.outputs))
        assert manifest.parity[name]["fp32"]["outputs"]


@pytest.mark.filterwarnings("ignore::rs_runtime.prompts.CutPromptWarning")
def test_the_runtime_gives_the_tokens_of_training(bundle, clip):
    reader = PromptReader(read_bundle(bundle))
    for text in (*PROMPTS, "A  FACE", "“oil” 1890", LONG, "\u00e9" * 40):
        np.testing.assert_array_equal(reader.read(text).ids, clip.tokenizer([text]).numpy())


@pytest.mark.parametrize("provider", [own for own in ("cpu", "openvino") if own in installed()[0]])
def test_the_runtime_makes_the_domain_that_pytorch_makes(folder, bundle, clip, provider):
    network = load_model(folder / "hypernetwork.safetensors")
    runtime = rs_runtime.load(bundle, provider=provider, threads=1)
    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    image = torch.from_numpy(photo)[None].permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        text, picture = clip.embed_text(["an oil painting"]), clip.embed_image(image)
        expected = [network(text), network(picture)]
    found = [runtime.prompt("an oil painting"), runtime.style(photo)]
    assert np.abs((text - picture).numpy()).max() > 0.1
    for domain, packed in zip(found, expected, strict=True):
        for group, slices in (("P", runtime.table.out_slices), ("Q", runtime.table.in_slices)):
            values = getattr(packed, group)[0].numpy()
            for layer, own in slices.items():
                np.testing.assert_allclose(getattr(domain, group)[layer], values[:, own], atol=5e-3)
    inversion = runtime.invert(photo, check=False)
    assert (inversion.synthesize(found[0]) != inversion.synthesize(found[1])).any()
    with pytest.warns(CutPromptWarning):
        runtime.prompt(LONG)


def test_the_graph_resizes_as_the_clip_does(clip):
    """The picture's own side is below and above that of CLIP's input."""
    part = mock.Mock(clip=clip, hypernetwork=tiny_hypernetwork(tiny_generator(), clip, "tokens"))
    for size in (16, 71):
        photo = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
        vision = prompt_roles(part, size)[1].module
        with torch.inference_mode():
            expected = clip.embed_image(photo.permute(0, 3, 1, 2) / 127.5 - 1)
            torch.testing.assert_close(vision(photo), expected, atol=1e-5, rtol=0)


def test_open_clips_own_tokenizer_becomes_a_file(bundle, folder):
    clip = Clip(ClipConfig(text_width=8, vision_width=4, vision_layers=(1, 1, 1, 1)))
    files = prompt_files(mock.Mock(clip=clip, knows="x"))
    settings = PromptSettings.from_json(files[SETTINGS_PATH], "settings")
    assert (settings.context_length, settings.vocabulary) == (48, 49408)
    opened = read_bundle(bundle)
    with mock.patch.object(type(opened), "read", lambda self, path: files[path]):
        reader = PromptReader(opened)
    for text in ("a charcoal drawing of a face", "1890's café", LONG):
        np.testing.assert_array_equal(reader.read(text).ids, clip.tokenizer([text]).numpy())
    assert reader.read(LONG).left_out > 0
    assert TOKENIZER_PATH in files


def test_a_modulation_is_one_output():
    generator, clip = tiny_generator(), tiny_clip()
    network = tiny_hypernetwork(generator, clip, "modulation")
    role = prompt_roles(mock.Mock(clip=clip, hypernetwork=network), 16)[2]
    embedding = np.eye(8, dtype=np.float32)[:3]
    found = role.reference({"embedding": embedding})
    assert found.keys() == {"modulation"}
    assert found["modulation"].shape == (3, generator.table.sum_in)


def test_what_was_not_trained_together_is_refused(folder, clip, tmp_path):
    generator = tiny_generator()
    sources = PromptSources(
        str(folder / "prompt_clip.safetensors"), folder / "hypernetwork.safetensors"
    )
    assert load_prompt_part(sources, generator).clip.config == clip.config
    with pytest.raises(IncompatibleError, match="another generator"):
        load_prompt_part(sources, tiny_generator(seed=1))
    save_model(tmp_path / "clip.safetensors", tiny_clip(seed=1))
    with pytest.raises(IncompatibleError, match="another clip"):
        load_prompt_part(sources._replace(clip=str(tmp_path / "clip.safetensors")), generator)


@pytest.mark.parametrize(
    ("there", "clip", "found"),
    [
        (("prompt_clip", "hypernetwork"), None, "prompt_clip.safetensors"),
        (("prompt_clip", "hypernetwork"), "open_clip:RN50:openai", "open_clip:RN50:openai"),
        (("hypernetwork",), "open_clip:RN50:openai", "open_clip:RN50:openai"),
        (("prompt_clip",), None, None),
        ((), None, None),
    ],
)
def test_both_networks_are_found_or_none(folder, checkpoints, tmp_path, there, clip, found):
    for part in there:
        shutil.copy(folder / f"{part}.safetensors", tmp_path)
    sources = find_sources("two_stage", [checkpoints, tmp_path], clip=clip)
    assert set(sources.checkpoints) == {"generator", "base_inverter", "refiner"}
    assert (sources.prompt and Path(sources.prompt.clip).name) == found


def test_half_a_prompt_part_is_refused(folder, checkpoints, tmp_path):
    shutil.copy(folder / "hypernetwork.safetensors", tmp_path)
    with pytest.raises(UsageError, match="no checkpoint for the CLIP") as error:
        find_sources("base", [checkpoints, tmp_path])
    assert "--clip open_clip:NAME:TAG" in error.value.hint
    with pytest.raises(UsageError, match="rs-train hypernetwork"):
        find_sources("base", [checkpoints], clip="open_clip:RN50:openai")
    assert find_sources("generator", [folder]).prompt is None
