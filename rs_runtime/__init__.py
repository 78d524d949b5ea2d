"""RefineStyle runtime: picture to latent and tokens to picture, domains as data, no PyTorch.

``rs_runtime.load().invert("photo.jpg").synthesize(domains="sketch")`` is uint8 [R, R, 3].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rs_runtime.pipeline import Inversion, Runtime, load

__version__ = "0.1.0"
__all__ = ["Inversion", "Runtime", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Loads the pipeline on first use, so that ``import rs_runtime`` costs nothing."""
    if name in ("Inversion", "Runtime", "load"):
        from rs_runtime import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
