"""The composed looks of one network for many domains: those it trains on, and new ones.

A held-out look has no part that the seen ones lack, but a medium and a palette that never meet in
one of them.
"""

from __future__ import annotations

from typing import Final

SEEN: Final = (
    "hatching-graphite-ink-scene",
    "hatching-sepia-pencil-soft",
    "hatching-ink-none-dramatic",
    "hatching-warm-pencil-banded",
    "hatching-saturated-fine-scene",
    "strokes-natural-none-scene",
    "strokes-pop-ink-banded",
    "strokes-ink-none-soft",
    "strokes-warm-pencil-soft",
    "strokes-saturated-fine-dramatic",
    "chalk-sepia-ink-dramatic",
    "chalk-charcoal-none-dramatic",
    "chalk-saturated-none-scene",
    "chalk-pop-fine-dramatic",
    "chalk-ink-ink-banded",
    "washes-natural-fine-soft",
    "washes-ink-pencil-scene",
    "washes-sepia-ink-banded",
    "washes-light-none-soft",
    "washes-warm-ink-dramatic",
    "smooth-charcoal-ink-banded",
    "smooth-sepia-none-dramatic",
    "smooth-light-fine-banded",
    "smooth-graphite-none-scene",
)
HELD_OUT: Final = (
    "chalk-light-ink-soft",
    "washes-pop-fine-scene",
    "hatching-charcoal-none-dramatic",
    "strokes-sepia-ink-banded",
    "smooth-ink-pencil-dramatic",
    "hatching-pop-ink-soft",
    "chalk-natural-ink-banded",
    "strokes-light-none-soft",
    "washes-charcoal-ink-dramatic",
    "smooth-saturated-ink-scene",
    "hatching-light-pencil-banded",
    "chalk-graphite-pencil-soft",
)


def all_looks() -> tuple[str, ...]:
    """The looks to train on, then the held-out ones."""
    return SEEN + HELD_OUT
