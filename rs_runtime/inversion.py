"""An inverted picture (or a batch of them): latent, tokens, and every restyling of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rs_runtime.choices import TOKENS_SUFFIX, Domains, Edits
from rs_runtime.contracts.errors import UsageError
from rs_runtime.contracts.files import sha256_hex
from rs_runtime.contracts.tokens import TokenSet, clean_name, write_token_set
from rs_runtime.detail import Detail
from rs_runtime.editing import EditList
from rs_runtime.mixing import Mix, PackedTokens
from rs_runtime.synthesis import require_finite

if TYPE_CHECKING:
    from rs_runtime.faces import FaceCrop
    from rs_runtime.pipeline import Runtime


class Inversion:
    """What a picture became. Made by ``Runtime.invert`` and ``Runtime.restore``.

    Of one picture the properties are unbatched; of a list they keep their N axis.

    Attributes:
        single: Whether it was made from one picture rather than a list.
        crops: For each picture, the face of a photo that it is a crop of, or None.
    """

    def __init__(
        self,
        runtime: Runtime,
        single: bool,
        w_plus_batch: NDArray[np.float32],
        detail: Detail,
        input_batch: NDArray[np.uint8] | None = None,
        first_batch: NDArray[np.uint8] | None = None,
        crops: Sequence[FaceCrop | None] | None = None,
    ) -> None:
        """Keeps the results of the inverter graphs.

        Args:
            runtime: Where it came from.
            single: Return unbatched results.
            w_plus_batch: [N, num_ws, w_dim].
            detail: What the N pictures keep beside their latents.
            input_batch: Prepared pictures uint8 [N, S, S, 3]; None when restored from a file.
            first_batch: First inversion uint8 [N, R, R, 3] if it is known already.
            crops: The faces that the pictures are crops of; None for a picture that is none.
        """
        self.single = single
        self.crops = tuple(crops or [None] * len(w_plus_batch))
        self._runtime = runtime
        self._w_plus = w_plus_batch
        self._detail = detail
        self._input = input_batch
        self._first = first_batch

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._w_plus)

    @property
    def w_plus(self) -> NDArray[np.float32]:
        """The latent, float32 [num_ws, w_dim]."""
        return self._view(self._w_plus)

    @property
    def tokens(self) -> PackedTokens:
        """The picture's own tokens, packed [N, ...]; neutral where it keeps a feature map."""
        return self._detail.tokens

    @property
    def feature(self) -> NDArray[np.float32] | None:
        """The picture's own feature map, float32 [C, h, w]; None where it keeps tokens."""
        return None if self._detail.feature is None else self._view(self._detail.feature)

    @property
    def input(self) -> NDArray[np.uint8] | None:
        """The picture as the inverter saw it, uint8 [S, S, 3]; None when restored from a file."""
        return None if self._input is None else self._view(self._input)

    @property
    def first_inversion(self) -> NDArray[np.uint8]:
        """The picture from w_plus alone, uint8 [R, R, 3]."""
        if self._first is None:
            self._first, _ = self._runtime.synthesize(self._w_plus)
        return self._view(self._first)

    @property
    def reconstruction(self) -> NDArray[np.uint8]:
        """The picture from w_plus and its own tokens or feature map, uint8 [R, R, 3]."""
        return self._view(self._reconstruction)

    @cached_property
    def _reconstruction(self) -> NDArray[np.uint8]:
        return self._draw([[]] * len(self), [[]] * len(self), 1.0)

    @cached_property
    def _errors(self) -> NDArray[np.float64]:
        if self._input is None:
            raise UsageError("an inversion restored from a file has no picture to compare with")
        pairs = zip(self._input, self._reconstruction, strict=True)
        return np.array([_mean_squared_error(own, made) for own, made in pairs])

    @property
    def error(self) -> Any:
        """Mean squared error of the reconstruction in [-1, 1] units at the inverter's size.

        Raises:
            UsageError: Restored from a file, so there is nothing to compare with.
        """
        return self._view(self._errors)

    @property
    def warnings(self) -> list[str | None]:
        """For each picture, why it is probably not of the kind that the bundle knows, or None."""
        limits = self._runtime.manifest.reconstruction
        if limits is None or self._input is None:
            return [None] * len(self)
        return [
            f"reconstruction error {error:.3g} is above {limits.mse_p99:.3g}, the 99th percentile: "
            f"this bundle knows {limits.knows}; bring your own checkpoint: "
            f"rs-export --model {self._runtime.manifest.model} --checkpoint FILE --out DIR"
            if error > limits.mse_p99
            else None
            for error in self._errors
        ]

    def synthesize(
        self,
        domains: Domains | None = None,
        *,
        edits: Edits | None = None,
        image_strength: float | Sequence[float] = 1.0,
        calibrate: bool = False,
    ) -> NDArray[np.uint8]:
        """Draws the picture, edited, in a mix of domains.

        Args:
            domains: A name ("sketch", "sketch=0.7"), a path, a ``TokenSet``, a pair of one of
                these and a strength, or a list of such, which add up; a list of lists gives each
                picture of a batch its own mix. None reconstructs.
            edits: Likewise directions: a name ("smile", "smile=1.5"), a path, a ``Direction``, ….
                They act on w_plus and styles; the picture's tokens stay, its feature map follows.
            image_strength: Factor on the picture's own tokens or feature map, or one for each
                picture of a batch; 0 draws the latent alone.
            calibrate: Divide the domains' residuals and style offsets, layer by layer, by what the
                styles that domains are learned on are times the encoder's.

        Returns:
            uint8 [R, R, 3], or [N, R, R, 3] of a batch.

        Raises:
            UsageError: An unknown domain or edit, or a strength that is not finite.
            IncompatibleError: A token set or direction of another generator; a bundle without
                calibration, if asked for.
            NumericsError: The strengths drive the network to values that are not finite.
        """
        if domains is None and edits is None and np.all(np.equal(image_strength, 1)):
            return self.reconstruction
        mixes = self._runtime.mixes(domains, len(self), calibrate=calibrate)
        edit_lists = self._runtime.edit_lists(edits, len(self))
        return self._view(self._draw(mixes, edit_lists, image_strength))

    def paste_back(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Blends pictures of the faces into the photo that they were cut from.

        Args:
            pictures: What ``synthesize`` returned, uint8 [R, R, 3], or [N, R, R, 3] of a batch.

        Returns:
            uint8 [H, W, 3], the whole photo.

        Raises:
            UsageError: The pictures are no crops of faces, or not all of one photo.
        """
        photos = {id(crop.photo) for crop in self.crops if crop is not None}
        if None in self.crops or len(photos) != 1:
            raise UsageError(
                "there is no one photo to paste into",
                found="pictures without a face"
                if None in self.crops
                else f"faces of {len(photos)} photos",
                expected="an inversion of one photo, made with align",
                hint="paste the faces of several photos one by one: inversion.crops[n].paste",
            )
        photo = self.crops[0].photo
        for crop, picture in zip(
            self.crops, pictures[None] if self.single else pictures, strict=True
        ):
            photo = crop.paste(picture, onto=photo)
        return photo

    def token_set(self, name: str, index: int = 0) -> TokenSet:
        """The latent and tokens of one picture as a token set of kind "image".

        Args:
            name: What to call it; made valid by ``clean_name``.
            index: Which picture of a batch.

        Raises:
            IncompatibleError: The picture keeps a feature map, which a token set cannot hold.
        """
        P, Q = self._detail.layers(index)
        source = "restored from a token set"
        if self._input is not None:
            source = f"sha256 of the prepared picture: {sha256_hex(self._input[index].tobytes())}"
        return TokenSet(
            kind="image",
            name=clean_name(name),
            P=P,
            Q=Q,
            style_offset={},
            modulation={},
            w_plus=self._w_plus[index],
            source=source,
            licence="that of the picture",
            fingerprint=self._runtime.manifest.generator_fingerprint,
            table_hash=self._runtime.table.hash,
        )

    def save_tokens(self, path: str | os.PathLike[str], index: int = 0) -> Path:
        """Writes ``token_set`` to a file that ``Runtime.restore`` and ``rs-run synth`` read.

        Args:
            path: The ``.tokens`` file.
            index: Which picture of a batch.

        Raises:
            IncompatibleError: See ``token_set``.
            ResourceError: The place cannot be written; what was there is unchanged.
        """
        path = Path(path)
        write_token_set(path, self.token_set(path.name.removesuffix(TOKENS_SUFFIX), index))
        return path

    def _draw(
        self, mixes: Sequence[Mix], edits: Sequence[EditList], strength: float | Sequence[float]
    ) -> NDArray[np.uint8]:
        outputs = self._detail.draw(self._w_plus, mixes, edits, strength)
        require_finite("synthesis", outputs, ("image_float",), "use smaller strengths")
        return outputs["image"]

    def _view(self, batch: NDArray[Any]) -> Any:
        return batch[0] if self.single else batch


def _mean_squared_error(own: NDArray[np.uint8], made: NDArray[np.uint8]) -> float:
    """Over two square uint8 pictures in [-1, 1] units, at the smaller size of the two."""
    import cv2

    side = min(len(own), len(made))
    own, made = (
        picture
        if len(picture) == side
        else cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        for picture in (own, made)
    )
    return float(np.mean(((own.astype(np.float64) - made) / 127.5) ** 2))
