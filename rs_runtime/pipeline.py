"""Picture to latent and tokens, and back to a picture in any mix of domains.

    two-stage:  picture -> preprocess -> base_inverter -> synthesis -> refiner -> synthesis
    one-stage:  picture -> preprocess -> inverter -> synthesis
    features:   picture -> preprocess -> feature_encoder -> synthesis_lower -> feature_shift
                        -> synthesis_upper

Before that, a photo may be cut to a face (``faces``), and the result pasted back into it.

The host passes tensors from graph to graph; the numbers are made inside the graphs, so every
engine and every binding agrees. Adding tokens (``mixing``) is the one exception.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rs_runtime.choices import Domains, Edits
from rs_runtime.contracts.bundle import Bundle, read_bundle
from rs_runtime.contracts.errors import ResourceError, UsageError
from rs_runtime.contracts.roles import FEATURE_ENCODER
from rs_runtime.contracts.tokens import TokenSet
from rs_runtime.detail import TokenDetail, no_token_set
from rs_runtime.editing import edit
from rs_runtime.engines.base import EngineOptions
from rs_runtime.face_finders import BUNDLE, FaceFinder, open_finder
from rs_runtime.faces import ALL, FaceCrop, FaceWarning, choose_faces
from rs_runtime.image_io import Picture, load_picture
from rs_runtime.inversion import Inversion
from rs_runtime.inverter import Inverter
from rs_runtime.mixing import PackedTokens, mix, neutral
from rs_runtime.prompts import PromptDomains
from rs_runtime.repertoire import Repertoire
from rs_runtime.roles import RoleRunner
from rs_runtime.synthesis import Synthesis, require_finite

DEMO_BUNDLE = Path(__file__).parent / "demo" / "bundle"
MAX_SEED = 2**32 - 1


class UnfamiliarPictureWarning(UserWarning):
    """A picture is reconstructed worse than nearly all pictures that the bundle knows."""


def load(
    bundle: str | os.PathLike[str] | None = None,
    *,
    provider: str = "auto",
    threads: int | None = None,
    allow_foreign: bool = False,
    trust: bool = False,
) -> Runtime:
    """Opens a bundle.

    Args:
        bundle: A bundle's folder; the demo bundle that comes with the package when None.
        provider: "auto", or "cpu", "cuda", ..., which then never falls back to another.
        threads: CPU threads; None leaves the engine's default.
        allow_foreign: Accept token sets and directions that were made for another generator of the
            same shape.
        trust: Do not hash the bundle's files again: for applications that sign their own bundles.

    Returns:
        The runtime; graphs are opened when first used.

    Raises:
        UsageError: No such folder or provider.
        MalformedFileError: A damaged bundle.
        UnsafeFileError: A bundle with links, or files that the manifest does not list.
        IncompatibleError: A bundle of another version.
        ResourceError: The provider is absent.
    """
    opened = read_bundle(demo_bundle() if bundle is None else bundle, trust=trust)
    return Runtime(opened, EngineOptions(provider, threads), allow_foreign)


def demo_bundle() -> Path:
    """The folder of the demo bundle that comes with the package.

    Raises:
        ResourceError: This installation was made without it.
    """
    if not DEMO_BUNDLE.is_dir():
        raise ResourceError(
            "the demo bundle is not part of this installation",
            hint="name a bundle, or make one with rs-export",
        )
    return DEMO_BUNDLE


class Runtime(Repertoire):
    """A bundle, ready to invert and to synthesize.

    What it can draw them in, by name or from files, is its ``Repertoire``.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions, allow_foreign: bool = False) -> None:
        """Use ``load``.

        Raises:
            UsageError: Unknown provider.
            ResourceError: The named provider is absent.
        """
        super().__init__(bundle, allow_foreign)
        self._roles = RoleRunner(bundle, options)
        self._synthesis = Synthesis(self._roles)
        self._inverter = Inverter(self._roles, self._synthesis)
        self._prompts = PromptDomains(self._roles)

    @property
    def provider(self) -> str | None:
        """The provider in use; None until "auto" has opened its first graph."""
        return self._roles.selection.provider

    @property
    def provider_note(self) -> str:
        """One line on what "auto" chose; empty before that, or for a named provider."""
        return self._roles.selection.note

    @property
    def engine_seconds(self) -> float:
        """Time spent in the engine so far, loading it and opening graphs included."""
        return self._roles.selection.seconds

    def prompt(self, text: str) -> TokenSet:
        """Makes a domain of a text, usable wherever a domain is.

        Args:
            text: What the pictures shall look like: "a charcoal drawing of a face"; one line of at
                most 4 KB. A text longer than the bundle reads is cut, with a
                ``prompts.CutPromptWarning``.

        Raises:
            MalformedFileError: Empty, too long, or with characters that are not printed.
            IncompatibleError: The bundle has no prompt part.
            ResourceError: The package `tokenizers` is not installed.
        """
        return self._prompts.of_text(text, stacklevel=2)

    def style(self, picture: Picture | FaceCrop, *, name: str | None = None) -> TokenSet:
        """Makes a domain of the look of one picture, usable wherever a domain is.

        Args:
            picture: A head in that look, as for ``invert``.
            name: What to call the domain; the stem of the picture's file, or "style", when None.

        Raises:
            MalformedFileError: Not a picture, or a damaged one.
            IncompatibleError: The bundle has no prompt part.
        """
        self._prompts.require()
        if name is None:
            name = Path(picture).stem if isinstance(picture, str | os.PathLike) else "style"
        return self._prompts.of_image(self._inverter.prepare(picture), name)

    def face_finder(self, align: str | os.PathLike[str] | FaceFinder) -> FaceFinder:
        """Opens a way to find faces once, for many photos; see ``invert`` for `align`."""
        is_name = isinstance(align, str | os.PathLike)
        return open_finder(align, self._roles) if is_name else align

    def find_faces(
        self,
        picture: Picture,
        align: str | os.PathLike[str] | FaceFinder = BUNDLE,
        face: int | str | None = ALL,
        *,
        name: str | None = None,
    ) -> list[FaceCrop]:
        """Finds faces in a photo; ``invert`` takes what this returns, one or all.

        Args:
            picture: The photo, as for ``invert``.
            align: As for ``invert``.
            face: As for ``invert``.
            name: The photo's file, for messages and for files of points; its path when None.

        Returns:
            Faces from left to right, at least one.

        Raises:
            UsageError: No face, or none that can be used; see ``faces.choose_faces``.
        """
        if name is None:
            name = os.fspath(picture) if isinstance(picture, str | os.PathLike) else "picture"
        photo = load_picture(picture)
        found = self.face_finder(align).find(photo, Path(name).name)
        return choose_faces(found, photo, name, face, self._inverter.crop_size)

    def invert(
        self,
        picture: Picture | FaceCrop | Sequence[Picture | FaceCrop],
        *,
        align: str | os.PathLike[str] | FaceFinder | None = None,
        face: int | str | None = None,
        check: bool = True,
    ) -> Inversion:
        """Finds the latent and tokens of a picture, or of each picture of a list.

        Args:
            picture: Path, bytes, PIL image or array (see ``image_io.load_picture``), a face of
                ``find_faces``, or a list.
            align: Cut the picture to a face first, as the pictures of FFHQ are cut. Says what
                finds the face: "bundle" for the bundle's own landmarks graph, the path of a YuNet
                detector (.onnx) or of points (.json). None takes the middle square as it is.
            face: Which of several faces: a number from the left, "all" (the result is a batch),
                or the largest when None.
            check: Reconstruct at once and warn (``UnfamiliarPictureWarning``) when that is worse
                than for 99 % of the pictures that the bundle knows; warn (``FaceWarning``) of a
                face that is small or cut off, or one of several.

        Returns:
            The inversion; of a list, one inversion of the whole batch.

        Raises:
            MalformedFileError: Not a picture, or a damaged one.
            UnsafeFileError: Too large.
            IncompatibleError: The bundle has no inverter.
        """
        single = not isinstance(picture, list | tuple)
        pictures = [picture] if single else picture
        if not pictures:
            raise UsageError("there is no picture to invert")
        if align is not None:
            finder = self.face_finder(align)
            pictures = [own for each in pictures for own in self.find_faces(each, finder, face)]
            single = single and face != ALL
        elif face is not None:
            raise UsageError("a face is chosen where none is looked for", hint="give align, too")
        prepared = np.concatenate([self._inverter.prepare(each) for each in pictures])
        w_plus, detail, first = self._inverter.read(prepared)
        inversion = Inversion(
            runtime=self,
            single=single,
            w_plus_batch=w_plus,
            detail=detail,
            input_batch=prepared,
            first_batch=first,
            crops=[each if isinstance(each, FaceCrop) else None for each in pictures],
        )
        if check:
            for note in (note for crop in inversion.crops if crop for note in crop.notes):
                warnings.warn(note, FaceWarning, stacklevel=2)
            for message in filter(None, inversion.warnings):
                warnings.warn(message, UnfamiliarPictureWarning, stacklevel=2)
        return inversion

    def require_token_sets(self) -> None:
        """Refuses a bundle whose inversions no token set can hold.

        Raises:
            IncompatibleError: They keep a feature map.
        """
        if self.manifest.inverter == FEATURE_ENCODER:
            raise no_token_set()

    def restore(self, tokens: TokenSet | str | os.PathLike[str]) -> Inversion:
        """Brings back what ``Inversion.save_tokens`` kept, to be restyled without its picture.

        Raises:
            UsageError: The set has no w_plus, so it is no inverted picture.
        """
        if not isinstance(tokens, TokenSet):
            tokens = self.load_tokens(tokens)
        self._require_fitting(tokens)
        if tokens.w_plus is None:
            raise UsageError(
                f"{tokens.name!r} is not an inverted picture",
                found=f"a token set of kind {tokens.kind}",
                expected="one made by rs-run invert --save-tokens",
            )
        return Inversion(
            runtime=self,
            single=True,
            w_plus_batch=tokens.w_plus[None].astype(np.float32),
            detail=TokenDetail(self._synthesis, self.table, mix([[(tokens, 1.0)]], self.table)),
        )

    def synth(
        self,
        seeds: int | Sequence[int],
        domains: Domains | None = None,
        *,
        edits: Edits | None = None,
        truncation_psi: float = 0.7,
    ) -> NDArray[np.uint8]:
        """Draws random pictures, edited, in a mix of domains.

        Args:
            seeds: One seed or several, 0 to 2^32 - 1; equal seeds give equal heads in all domains.
            domains: See ``Inversion.synthesize``.
            edits: See ``Inversion.synthesize``.
            truncation_psi: 1 draws the whole variety, 0 the average head.

        Returns:
            uint8 [R, R, 3] for one seed, [N, R, R, 3] for a list.

        Raises:
            UsageError: A seed out of range, an unknown domain or edit, or a truncation that is not
                finite.
            IncompatibleError: The bundle has no mapping graph.
        """
        single = isinstance(seeds, int | np.integer)
        numbers = [seeds] if single else list(seeds)
        if not numbers or not all(0 <= seed <= MAX_SEED for seed in numbers):
            raise UsageError("a seed is out of range", expected=f"0 to {MAX_SEED}")
        if not math.isfinite(truncation_psi):
            raise UsageError(
                "truncation must be a finite number",
                found=str(truncation_psi),
                expected="for example 0.7",
            )
        shapes = self._roles.input_shapes("mapping")
        z = np.stack([np.random.RandomState(seed).randn(shapes["z"][-1]) for seed in numbers])
        psi = np.full(shapes["truncation_psi"], truncation_psi, np.float32)
        w = self._roles.run("mapping", z=z.astype(np.float32), truncation_psi=psi)["w"]
        w_plus = np.repeat(w[:, None], self.table.num_ws, axis=1)
        mixes = self.mixes(domains, len(numbers))
        with self._synthesis.workspace.mix(mixes, self.table) as tokens:
            edit_lists = self.edit_lists(edits, len(numbers))
            image, _ = self.synthesize(*edit(w_plus, tokens, edit_lists, self.table))
        return image[0] if single else image

    def synthesize(
        self, w_plus: NDArray[np.float32], tokens: PackedTokens | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Runs the synthesis graph.

        Args:
            w_plus: [N, num_ws, w_dim].
            tokens: Packed tokens of the N samples; plain StyleGAN2 when None.

        Returns:
            image: uint8 [N, R, R, 3].
            image_float: float32 [N, 3, R, R], unclamped, nominally in [-1, 1].

        Raises:
            NumericsError: The result is not finite.
        """
        if tokens is None:
            tokens = neutral(len(w_plus), self.table)
        outputs = self._synthesis.whole(w_plus, tokens)
        require_finite("synthesis", outputs, ("image_float",), "use smaller strengths")
        return outputs["image"], outputs["image_float"]
