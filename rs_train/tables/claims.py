"""Inequalities that the paper states, and whether the numbers measured here agree."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

_COMPARE = {"<=": operator.le, "<": operator.lt, ">=": operator.ge}
_SIGNS = {"<=": "≤", "<": "<", ">=": "≥"}


@dataclass(frozen=True)
class Claim:
    """An inequality between two measured numbers, or a measured number and a bound.

    Attributes:
        statement: The claim in words.
        value: Its left side, as measured.
        relation: How the sides should compare.
        bound: Its right side.
        holds: Whether they do.
    """

    statement: str
    value: float
    relation: Literal["<=", "<", ">="]
    bound: float
    holds: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "holds", _COMPARE[self.relation](self.value, self.bound))


def claims_markdown(claims: Sequence[Claim]) -> str:
    """A table of claims, each with its numbers and its outcome."""
    lines = ["| claim | measured | holds |", "|---|---|---|"]
    lines += [
        f"| {claim.statement} | {claim.value:.3g} {_SIGNS[claim.relation]} {claim.bound:.3g} "
        f"| {'yes' if claim.holds else '**no**'} |"
        for claim in claims
    ]
    return "\n".join(lines) + "\n"
