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
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_runtime.calibration import calibrated
from rs_runtime.choices import TOKENS_SUFFIX, Choices, Domains, Edits, Item
from rs_runtime.contracts.bundle import Bundle, read_bundle
from rs_runtime.contracts.calibration import Calibration, decode_calibration
from rs_runtime.contracts.directions import Direction, decode_direction, read_direction
from rs_runtime.contracts.errors import (
    IncompatibleError,
    ResourceError,
    UsageError,
)
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.manifest import CALIBRATION_PATH, EDIT_SUFFIX, FEATURE_ENCODER, Manifest
from rs_runtime.contracts.tokens import TokenSet, decode_token_set, read_token_set
from rs_runtime.detail import Detail, FeatureDetail, TokenDetail, no_token_set
from rs_runtime.editing import EditList, edit
from rs_runtime.engines.base import EngineOptions
from rs_runtime.face_finders import BUNDLE, FaceFinder, open_finder
from rs_runtime.faces import ALL, FaceCrop, FaceWarning, choose_faces
from rs_runtime.image_io import Picture, load_picture
from rs_runtime.inversion import Inversion
from rs_runtime.mixing import Mix, PackedTokens, mix, neutral
from rs_runtime.prompts import PromptDomains
from rs_runtime.roles import RoleRunner
from rs_runtime.synthesis import Synthesis, require_finite

DEMO_BUNDLE = Path(__file__).parent / "demo" / "bundle"
MAX_SEED = 2**32 - 1
_OTHER_PICTURE = "try another picture or provider"


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


class Runtime:
    """A bundle, ready to invert and to synthesize.

    Attributes:
        bundle: The bundle.
        allow_foreign: Whether token sets and directions of another generator are accepted.
        domain_choices: What may be named as a domain.
        edit_choices: What may be named as an edit.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions, allow_foreign: bool = False) -> None:
        """Use ``load``.

        Raises:
            UsageError: Unknown provider.
            ResourceError: The named provider is absent.
        """
        self.bundle = bundle
        self.allow_foreign = allow_foreign
        self._roles = RoleRunner(bundle, options)
        self._synthesis = Synthesis(self._roles)
        self._domains: dict[str, TokenSet] = {}
        self._edits: dict[str, Direction] = {}
        self._prompts = PromptDomains(self._roles)
        self.domain_choices = Choices(
            "domain", TokenSet, TOKENS_SUFFIX, self.domains, self.domain, self.load_tokens
        )
        self.edit_choices = Choices(
            "edit", Direction, EDIT_SUFFIX, self.edits, self.direction, self.load_direction
        )

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.bundle.manifest

    @property
    def table(self) -> LayerTable:
        """The generator's layers."""
        return self.manifest.layer_table

    @property
    def domains(self) -> list[str]:
        """Names of the bundle's domains, sorted."""
        return sorted(self.manifest.domains)

    @property
    def edits(self) -> list[str]:
        """Names of the bundle's edits, sorted."""
        return sorted(self.manifest.edits)

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

    def domain(self, name: str) -> TokenSet:
        """A domain of the bundle.

        Raises:
            UsageError: No such domain.
            MalformedFileError: Its file is damaged.
        """
        paths = self.manifest.domains
        return self._listed(self.domain_choices, name, paths, decode_token_set, self._domains)

    def direction(self, name: str) -> Direction:
        """An edit of the bundle.

        Raises:
            UsageError: No such edit.
            MalformedFileError: Its file is damaged.
        """
        paths = self.manifest.edits
        return self._listed(self.edit_choices, name, paths, decode_direction, self._edits)

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
        return self._prompts.of_image(self._prepare(picture), name)

    def load_tokens(self, path: str | os.PathLike[str]) -> TokenSet:
        """Reads a token-set file and checks that it fits this bundle's generator.

        Raises:
            UsageError: No such file.
            MalformedFileError: Damaged, or not a token set.
            IncompatibleError: Made for another generator.
        """
        return read_token_set(path, **self._origin, allow_foreign=self.allow_foreign)

    def load_direction(self, path: str | os.PathLike[str]) -> Direction:
        """Reads a direction's file; errors as ``load_tokens``."""
        return read_direction(path, **self._origin, allow_foreign=self.allow_foreign)

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
        return choose_faces(found, photo, name, face, self._crop_size)

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
        prepared = np.concatenate([self._prepare(each) for each in pictures])
        w_plus, detail, first = self._read(prepared)
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

    def _read(
        self, prepared: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], Detail, NDArray[np.uint8] | None]:
        """Latents and detail of prepared pictures; the first inversion where it is drawn anyway."""
        found = self._roles.run(self.manifest.inverter or "base_inverter", image=prepared)
        w_plus, first = found["w_plus"], None
        if "feature" in found:
            require_finite("feature encoder", found, ("feature",), _OTHER_PICTURE)
            detail = FeatureDetail(
                self._roles, self._synthesis, self.table, w_plus, found["feature"]
            )
            return w_plus, detail, None
        tokens = neutral(len(w_plus), self.table)
        if self._roles.has("refiner"):
            drawn = self._synthesis.whole(w_plus, tokens, keep=("image_float",))
            first = drawn["image"]
            found = self._roles.run("refiner", image=prepared, first_inversion=drawn["image_float"])
            require_finite("refiner", found, ("P", "Q"), _OTHER_PICTURE)
        if "P" in found:
            tokens = tokens._replace(P=found["P"], Q=found["Q"])
        return w_plus, TokenDetail(self._synthesis, self.table, tokens), first

    def mixes(self, domains: Any, count: int, *, calibrate: bool = False) -> list[Mix]:
        """One mix for each of ``count`` samples.

        Args:
            domains: As for ``Inversion.synthesize``; a list of lists gives each sample its own.
            count: Number of samples N.
            calibrate: As for ``Inversion.synthesize``.

        Raises:
            UsageError: An unknown domain, or a list of lists of another length.
            IncompatibleError: A token set of another generator; a bundle without calibration.
        """
        samples = self._fitting(self.domain_choices, domains, count)
        if not calibrate:
            return samples
        sets = {id(domain): domain for sample in samples for domain, _ in sample}
        known = {key: calibrated(domain, self.calibration) for key, domain in sets.items()}
        return [[(known[id(domain)], factor) for domain, factor in sample] for sample in samples]

    @cached_property
    def calibration(self) -> Calibration:
        """The styles of the bundle's encoder beside the mapping network's.

        Raises:
            IncompatibleError: The bundle has no calibration, or one for another generator.
            MalformedFileError: Its file is damaged.
        """
        if CALIBRATION_PATH not in self.manifest.files:
            raise IncompatibleError(
                "the bundle has no calibration",
                expected=f"a {CALIBRATION_PATH} in it",
                hint="make one with rs-train eval calibration, and export the bundle again",
            )
        data = self.bundle.read(CALIBRATION_PATH)
        return decode_calibration(data, **self._origin, name_hint=CALIBRATION_PATH)

    def edit_lists(self, edits: Any, count: int) -> list[EditList]:
        """One list of edits for each of ``count`` samples; arguments and errors as ``mixes``."""
        return self._fitting(self.edit_choices, edits, count)

    @property
    def _origin(self) -> dict[str, Any]:
        """What a file for this bundle's generator has to fit."""
        return {"table": self.table, "fingerprint": self.manifest.generator_fingerprint}

    def _listed(
        self,
        choices: Choices[Item],
        name: str,
        paths: Mapping[str, str],
        decode: Callable[..., Item],
        kept: dict[str, Item],
    ) -> Item:
        if name not in paths:
            raise UsageError(
                f"the bundle has no {choices.noun} {name!r}", expected=", ".join(sorted(paths))
            )
        if name not in kept:
            data = self.bundle.read(paths[name])
            kept[name] = decode(data, **self._origin, name_hint=paths[name])
        return kept[name]

    def _fitting(
        self, choices: Choices[Item], asked: Any, count: int
    ) -> list[list[tuple[Item, float]]]:
        samples = choices.per_sample(asked, count)
        for sample in samples:
            for item, _ in sample:
                self._require_fitting(item)
        return samples

    def _require_fitting(self, item: TokenSet | Direction) -> None:
        own = self.manifest.generator_fingerprint
        if item.fingerprint != own and not self.allow_foreign:
            noun = "token set" if isinstance(item, TokenSet) else "direction"
            raise IncompatibleError(
                f"the {noun} {item.name!r} was made for another generator",
                found=f"{item.fingerprint[:16]}…",
                expected=f"{own[:16]}…",
                hint="use the bundle it was made with; allow_foreign=True tries it all the same",
            )

    def _prepare(self, picture: Picture | FaceCrop) -> NDArray[np.uint8]:
        is_crop = isinstance(picture, FaceCrop)
        photo = picture.picture(self._crop_size) if is_crop else load_picture(picture)
        return self._roles.run("preprocess", photo=photo)["image"]

    @property
    def _crop_size(self) -> int:
        """Side of the crop of a face: what the generator draws or the inverter reads, if larger."""
        name = self.manifest.inverter or "base_inverter"
        return max(self.manifest.image.size, int(self._roles.input_shapes(name)["image"][1]))
