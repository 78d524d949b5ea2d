"""From pictures to what the synthesis draws them from: a bundle's graphs that read pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rs_runtime.detail import Detail, FeatureDetail, TokenDetail
from rs_runtime.faces import FaceCrop
from rs_runtime.image_io import Picture, load_picture
from rs_runtime.mixing import neutral
from rs_runtime.roles import RoleRunner
from rs_runtime.synthesis import Synthesis, require_finite

_OTHER_PICTURE = "try another picture or provider"


class Inverter:
    """Reads pictures with whatever inverter the bundle has, in one stage or in two."""

    def __init__(self, roles: RoleRunner, synthesis: Synthesis) -> None:
        """Opens no graph yet.

        Args:
            roles: Runs the graphs.
            synthesis: Draws the first inversion, for a refiner.
        """
        self._roles = roles
        self._synthesis = synthesis
        self._manifest = roles.bundle.manifest
        self._table = self._manifest.layer_table

    @property
    def crop_size(self) -> int:
        """Side of the crop of a face: what the generator draws or the inverter reads, if larger."""
        name = self._manifest.inverter or "base_inverter"
        return max(self._manifest.image.size, int(self._roles.input_shapes(name)["image"][1]))

    def prepare(self, picture: Picture | FaceCrop) -> NDArray[np.uint8]:
        """One picture as the graphs read it, uint8 [1, S, S, 3].

        Args:
            picture: What ``image_io.load_picture`` takes, or a face that ``faces`` found.

        Raises:
            MalformedFileError: Not a picture, or a damaged one.
            UnsafeFileError: Too large.
            IncompatibleError: The bundle prepares no pictures.
        """
        is_crop = isinstance(picture, FaceCrop)
        photo = picture.picture(self.crop_size) if is_crop else load_picture(picture)
        return self._roles.run("preprocess", photo=photo)["image"]

    def read(
        self, prepared: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], Detail, NDArray[np.uint8] | None]:
        """Finds what the synthesis draws pictures from.

        Args:
            prepared: Pictures uint8 [N, S, S, 3] that ``prepare`` made.

        Returns:
            Latents float32 [N, num_ws, w_dim]; what the pictures keep beside them; the first
            inversion uint8 [N, R, R, 3] where the refiner has it drawn, None elsewhere.

        Raises:
            IncompatibleError: The bundle has no inverter.
            NumericsError: A graph's results are not finite.
        """
        found = self._roles.run(self._manifest.inverter or "base_inverter", image=prepared)
        w_plus, first = found["w_plus"], None
        if "feature" in found:
            require_finite("feature encoder", found, ("feature",), _OTHER_PICTURE)
            detail = FeatureDetail(
                self._roles, self._synthesis, self._table, w_plus, found["feature"]
            )
            return w_plus, detail, None
        tokens = neutral(len(w_plus), self._table)
        if self._roles.has("refiner"):
            drawn = self._synthesis.whole(w_plus, tokens, keep=("image_float",))
            first = drawn["image"]
            found = self._roles.run("refiner", image=prepared, first_inversion=drawn["image_float"])
            require_finite("refiner", found, ("P", "Q"), _OTHER_PICTURE)
        if "P" in found:
            tokens = tokens._replace(P=found["P"], Q=found["Q"])
        return w_plus, TokenDetail(self._synthesis, self._table, tokens), first
