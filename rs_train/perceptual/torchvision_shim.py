"""Import open_clip although torchvision's compiled operators belong to another torch build.

open_clip imports ``torchvision.transforms``, and torchvision registers shape functions for its own
compiled operators while it is imported. With a torchvision wheel that was built for another torch
(the usual CUDA wheel beside a CPU torch, say) those operators do not exist, and
``import torchvision`` fails although nothing that open_clip needs is compiled.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch.library

from rs_runtime.contracts.errors import ResourceError


@contextmanager
def missing_torchvision_operators_ignored() -> Iterator[None]:
    """Let ``torch.library.register_fake`` skip ``torchvision::`` operators that do not exist.

    Registration of operators that do exist, and of every other library, is untouched; the original
    function is put back on exit.
    """
    original = torch.library.register_fake

    def register_fake(op: Any, func: Callable | None = None, /, **kwargs: Any) -> Any:
        if not (isinstance(op, str) and op.startswith("torchvision::")):
            return original(op, func, **kwargs)

        def register(function: Callable) -> Callable:
            try:
                return original(op, function, **kwargs)
            except RuntimeError as error:
                if "does not exist" not in str(error):
                    raise
                return function

        return register if func is None else register(func)

    torch.library.register_fake = register_fake
    try:
        yield
    finally:
        torch.library.register_fake = original


def import_open_clip() -> ModuleType:
    """The ``open_clip`` package.

    Raises:
        ResourceError: open_clip is not installed.
    """
    try:
        with missing_torchvision_operators_ignored():
            return importlib.import_module("open_clip")
    except ModuleNotFoundError as error:
        raise ResourceError(
            "The CLIP judge needs open_clip",
            found=f"no module named {error.name}",
            expected="open_clip_torch 3.x",
            hint='pip install ".[train]" in the project\'s folder',
        ) from error
