"""Tokenizers as files: open_clip's own words, a trained one, and what the text tower needs."""

import json
import random

import pytest
import torch

from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_train.perceptual.clip import Clip, ClipConfig, ClipGuide, load_open_clip
from rs_train.perceptual.preprocessing import Preprocessing
from rs_train.perceptual.templates import fill_templates
from rs_train.perceptual.tokenizer_file import FileTokenizer, tokenizer_json, train_tokenizer
from rs_train.perceptual.torchvision_shim import import_package
from rs_train.portraits import COMPOSED, caption, domain_style, sample_scene

# Contractions, digits, accents composed or not, quotes, emoji and other scripts.
ODD = """\
don't we'll I'VE It's 1 2026 3rd #4 naïve café CAFÉ cafe\u0301 ’s “quoted” ... !!!'s _x_ ½ ٣ € ß \
http://x.y/z?q=1 İstanbul 你好 Привет मानव 🙂 👩\u200d🎨 <end_of_text> <b> a-b\tc\nd \u2003 """
TINY = ClipConfig(
    image_size=32,
    embed_dim=16,
    vision_layers=(1, 1, 1, 1),
    vision_width=8,
    text_width=16,
    text_layers=1,
    text_heads=1,
    context_length=24,
)


def _captions(count: int) -> list[str]:
    names = COMPOSED[:: max(1, len(COMPOSED) // count)]
    return [caption(sample_scene(3, i, extras=i % 2 == 0), n) for i, n in enumerate(names)]


def _drawn_texts(count: int) -> list[str]:
    rng = random.Random(5)
    words = (*ODD.split(" "), *" ".join(_captions(60)).split())
    return [" ".join(rng.choices(words, k=rng.randrange(30))) for _ in range(count)]


def _own_words(context_length: int) -> ClipGuide:
    open_clip = import_package("open_clip", "The CLIP judge", "open_clip_torch 3.x")
    tokenizer = open_clip.SimpleTokenizer(context_length=context_length)
    return ClipGuide(torch.nn.Identity(), tokenizer, Preprocessing(size=32), fill_templates)


def _different(ours: FileTokenizer, guide: ClipGuide, texts: list[str]) -> list[str]:
    equal = (ours(texts) == guide.tokenizer(texts)).all(dim=1)
    return [text for text, same in zip(texts, equal.tolist(), strict=True) if not same]


def test_open_clips_words_have_the_same_ids_in_the_file() -> None:
    guide = _own_words(20)
    ours = FileTokenizer(tokenizer_json(guide), 20)
    texts = _drawn_texts(1500)
    assert _different(ours, guide, texts) == []


@pytest.mark.nightly
def test_the_public_networks_words_have_the_same_ids_in_the_file() -> None:
    guide = load_open_clip("ViT-B-32", None)
    ours = FileTokenizer(tokenizer_json(guide), 77)
    rng = random.Random(6)
    # ftfy takes œ before another letter for a broken encoding
    letters = "abcdefghijklmnopqrstuvwxyzàáâäåæçèéêëíîïñóôöøùúûüßšžąęłőřџжиλωбда아あ "
    texts = _drawn_texts(10_000)
    texts += ["".join(rng.choices(letters, k=rng.randrange(40))) for _ in range(2000)]
    texts += [filled for text in _captions(700) for filled in guide.templates(text)[:3]]
    assert _different(ours, guide, texts) == []
    with torch.no_grad():
        embedding = guide.embed_text(texts[:8])
        guide.tokenizer = ours
        torch.testing.assert_close(guide.embed_text(texts[:8]), embedding, rtol=0, atol=0)


def test_a_trained_tokenizer_reads_every_text_and_comes_out_the_same_again() -> None:
    texts = _captions(200)
    json_text = train_tokenizer(texts, 600)
    assert json_text == train_tokenizer(texts, 600)
    tokenizer = FileTokenizer(json_text, 48)
    assert tokenizer.vocab_size <= 600
    ids = tokenizer([*texts[:50], "", "Ein Bild in Öl, 你好 🙂"])
    assert ids.dtype == torch.int64 and ids.shape == (52, 48)
    assert (ids[:, 0] == tokenizer.vocab_size - 2).all()
    assert (ids.max(dim=1).values == tokenizer.vocab_size - 1).all()
    assert torch.equal(tokenizer(["A  Chalk\nDRAWING"]), tokenizer(["a chalk drawing"]))
    assert not torch.equal(tokenizer(["你"]), tokenizer(["好"]))


def test_words_of_looks_are_entries_of_their_own() -> None:
    tokenizer = FileTokenizer(train_tokenizer(_captions(720), 1000), 64)
    for name in COMPOSED:
        phrase = domain_style(name).phrase
        assert tokenizer([phrase]).argmax(dim=1).item() == len(phrase.split()) + 1, phrase


def test_a_long_text_is_cut_and_keeps_its_end() -> None:
    tokenizer = FileTokenizer(train_tokenizer(_captions(50), 400), 6)
    (ids,) = tokenizer(["a chalk drawing in sepia tones with ink outlines"])
    assert ids.argmax().item() == 5
    assert ids[5].item() == tokenizer.vocab_size - 1


def test_the_text_tower_reads_its_result_at_the_end_token() -> None:
    torch.manual_seed(0)
    clip = Clip(
        ClipConfig(**{**vars(TINY), "tokenizer": train_tokenizer(_captions(50), 400)})
    ).eval()
    assert clip.network.vocab_size == clip.tokenizer.vocab_size
    ids = clip.tokenizer(["a chalk drawing"])
    end = ids.argmax(dim=1).item()
    other_padding, other_word = ids.clone(), ids.clone()
    other_padding[0, end + 1 :] = 7
    other_word[0, end - 1] = 7
    with torch.no_grad():
        expected = clip.network.encode_text(ids)
        torch.testing.assert_close(clip.network.encode_text(other_padding), expected)
        assert (clip.network.encode_text(other_word) - expected).abs().max() > 1e-3
    assert json.loads(tokenizer_json(clip))["padding"]["strategy"] == {"Fixed": 24}


def test_what_is_no_tokenizer_for_a_text_tower_is_refused() -> None:
    with pytest.raises(UsageError, match=r"tokenizer\.json"):
        FileTokenizer("{}", 8)
    changed = json.loads(train_tokenizer(["a face"], 300))
    changed["added_tokens"].pop()
    changed["post_processor"] = None
    with pytest.raises(UsageError, match="last entry"):
        FileTokenizer(json.dumps(changed), 8)
    guide = _own_words(8)
    guide.tokenizer = str.split
    with pytest.raises(IncompatibleError, match="SimpleTokenizer"):
        tokenizer_json(guide)
