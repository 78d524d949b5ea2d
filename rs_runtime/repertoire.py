"""What a generator can be drawn in: the domains and edits of its bundle, and files made for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from rs_runtime.calibration import calibrated
from rs_runtime.choices import TOKENS_SUFFIX, Choices, Item
from rs_runtime.contracts.bundle import Bundle
from rs_runtime.contracts.calibration import Calibration, decode_calibration
from rs_runtime.contracts.directions import Direction, decode_direction, read_direction
from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.manifest import CALIBRATION_PATH, EDIT_SUFFIX, Manifest
from rs_runtime.contracts.tokens import TokenSet, decode_token_set, read_token_set
from rs_runtime.editing import EditList
from rs_runtime.mixing import Mix


class Repertoire:
    """Finds domains and edits by name, by path, or as they are, and refuses those that don't fit.

    A bundle's own are read when first asked for, and kept; files are read again each time.

    Attributes:
        bundle: The bundle.
        allow_foreign: Whether token sets and directions of another generator are accepted.
        domain_choices: What may be named as a domain.
        edit_choices: What may be named as an edit.
    """

    def __init__(self, bundle: Bundle, allow_foreign: bool = False) -> None:
        """Reads nothing yet."""
        self.bundle = bundle
        self.allow_foreign = allow_foreign
        self._domains: dict[str, TokenSet] = {}
        self._edits: dict[str, Direction] = {}
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
