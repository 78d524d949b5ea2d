"""Tokenizers of text towers as files that the `tokenizers` library reads, without PyTorch."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from torch import Tensor

from rs_runtime.contracts.errors import IncompatibleError, UsageError

if TYPE_CHECKING:
    from rs_train.perceptual.clip import ClipGuide

START, END = "<start_of_text>", "<end_of_text>"
PAD_ID = 0
# What CLIP takes for a word: contractions, letters, one digit, anything else that is no space.
_WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class FileTokenizer:
    """The text of a tokenizer.json, called as open_clip calls its own.

    Text is cut to `context_length`, the end token kept, and filled up with id 0. The end token has
    the highest id of all, since open_clip's text towers read their result where the highest id is.
    """

    def __init__(self, json: str, context_length: int) -> None:
        """Read the tokenizer; its own cutting and padding are replaced.

        Raises:
            UsageError: Not a tokenizer, or its last entry is not the end token.
        """
        try:
            self._tokenizer = Tokenizer.from_str(json)
        except Exception as error:  # the library raises nothing narrower
            raise UsageError(
                "the CLIP's tokenizer is not readable",
                found=str(error)[:200],
                expected="the text of a tokenizer.json of the library `tokenizers`",
            ) from error
        self.vocab_size = self._tokenizer.get_vocab_size()
        if self._tokenizer.token_to_id(END) != self.vocab_size - 1:
            raise UsageError(
                "the CLIP's tokenizer does not suit a text tower",
                expected=f"{END} as its last entry, number {self.vocab_size - 1}",
            )
        _set_length(self._tokenizer, context_length)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Ids of texts, int64 [N, context_length]."""
        encodings = self._tokenizer.encode_batch(list(texts))
        return torch.tensor([encoding.ids for encoding in encodings], dtype=torch.long)

    def json(self) -> str:
        """The tokenizer.json, cutting and padding included."""
        return self._tokenizer.to_str()


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> str:
    """The tokenizer.json of a byte-level BPE that is trained on texts; every text has ids in it.

    Args:
        texts: What to compress.
        vocab_size: Most entries, the 256 bytes and the two special ones included.

    Source: Sennrich et al. 2016, section 3.2; on bytes as in Radford et al. 2019, section 2.2.
    """
    tokenizer = Tokenizer(models.BPE())
    # A space marks where a word begins, so that all of a word's entries are made of 256 bytes.
    _set_pipeline(tokenizer, pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    _set_specials(tokenizer)
    return tokenizer.to_str()


def tokenizer_json(guide: "ClipGuide") -> str:
    """The tokenizer.json of any CLIP, its context length included.

    open_clip's own tokenizer repairs texts by the library ftfy first; of that, the file has Unicode
    composition and straight quotes, but leaves HTML's entities, ligatures and broken encodings as
    they are. Texts without those, and without a capital sigma that ends a word, have equal ids.

    Raises:
        IncompatibleError: The CLIP has a tokenizer of another kind.
    """
    tokenizer = guide.tokenizer
    if isinstance(tokenizer, FileTokenizer):
        return tokenizer.json()
    if not _is_plain_open_clip(tokenizer):
        raise IncompatibleError(
            "This CLIP's tokenizer cannot be written as a file",
            found=type(tokenizer).__name__,
            expected="open_clip's SimpleTokenizer in lower case, or one of this project",
        )
    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    specials = (START, END)
    vocabulary = {token: n for token, n in tokenizer.encoder.items() if token not in specials}
    converted = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    _set_pipeline(converted, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    _set_specials(converted)
    _set_length(converted, tokenizer.context_length)
    return converted.to_str()


def _is_plain_open_clip(tokenizer: object) -> bool:
    ranked = hasattr(tokenizer, "bpe_ranks") and getattr(tokenizer, "reduction_fn", None) is None
    return (
        ranked
        and tokenizer.clean_fn(" A_b  (C) ") == "a_b (c)"
        and [tokenizer.encoder.get(token) for token in (START, END)]
        == [len(tokenizer.encoder) - 2, len(tokenizer.encoder) - 1]
    )


def _set_pipeline(tokenizer: Tokenizer, to_bytes: pre_tokenizers.ByteLevel) -> None:
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.NFC(),
        normalizers.Replace(Regex("[\u02bc\u2018-\u201b]"), "'"),
        normalizers.Replace(Regex("[\u201c-\u201f]"), '"'),
        normalizers.Lowercase(),
    ])  # fmt: skip
    words = pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()


def _set_specials(tokenizer: Tokenizer) -> None:
    """Append the start and end tokens and put them around every text."""
    tokenizer.add_special_tokens([START, END])
    ends = [(token, tokenizer.token_to_id(token)) for token in (START, END)]
    tokenizer.post_processor = TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)


def _set_length(tokenizer: Tokenizer, context_length: int) -> None:
    tokenizer.enable_truncation(context_length)
    padding = tokenizer.id_to_token(PAD_ID)
    tokenizer.enable_padding(length=context_length, pad_id=PAD_ID, pad_token=padding)
