"""Ratios within one run: all arms take turns, so that a slow moment of the machine hits each."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arm = Callable[[], object]
# Idle threads of PyTorch and ONNX Runtime spin for a while, which would slow the next arm down.
PAUSE_S = 0.5


def take_turns(
    arms: Mapping[str, Arm],
    rounds: int,
    tell: Callable[[str], None],
    keep: Callable[[dict[str, Any]], object] = lambda seconds: None,
) -> dict[str, Any]:
    """Warm every arm up, then time each once a round.

    Args:
        arms: What is timed.
        rounds: How often.
        tell: Is told what happens.
        keep: Is given the seconds after each round, so that an end in between loses nothing.

    Returns:
        Seconds of every round by arm.
    """
    for name, arm in arms.items():
        tell(f"warming up {name}")
        arm()
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(rounds):
        tell(f"round {turn + 1} of {rounds}")
        for name, arm in arms.items():
            time.sleep(PAUSE_S)
            begun = time.perf_counter()
            arm()
            seconds[name].append(round(time.perf_counter() - begun, 5))
        keep(seconds)
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Median seconds by arm."""
    return {name: round(float(np.median(values)), 5) for name, values in seconds.items()}


def ratio(seconds: Mapping[str, list[float]], above: str, below: str) -> float | None:
    """Median over the rounds of one arm's time by another's; None where one was not run."""
    if above not in seconds or below not in seconds:
        return None
    quotient = np.array(seconds[above]) / np.array(seconds[below])
    return round(float(np.median(quotient)), 4)


def fastest(seconds: Mapping[str, list[float]], names: list[str]) -> str | None:
    """The arm of the least median among those that were run."""
    there = [name for name in names if name in seconds]
    return min(there, key=lambda name: float(np.median(seconds[name])), default=None)


def publish(report: Mapping[str, Any], path: Path | None) -> None:
    """Print a report as JSON, and write it where a path is given."""
    text = json.dumps(report, indent=2)
    print(text)
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")
