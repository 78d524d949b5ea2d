"""Import packages although torchvision's compiled operators belong to another torch build.

open_clip, lpips and timm import torchvision, and torchvision registers shape functions for its own
compiled operators while it is imported. With a torchvision wheel that was built for another torch
(the usual CUDA wheel beside a CPU torch, say) those operators do not exist, and
``import torchvision`` fails although nothing that these packages do here needs them.
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


def import_package(name: str, needed_by: str, expected: str = "") -> ModuleType:
    """A package that imports torchvision, as open_clip, lpips and timm do.

    Args:
        name: Of the package.
        needed_by: What cannot be done without it, for the message.
        expected: Its distribution and version, where they are not the name.

    Raises:
        ResourceError: It is not installed.
    """
    try:
        with missing_torchvision_operators_ignored():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ResourceError(
            f"{needed_by} needs {name}",
            found=f"no module named {error.name}",
            expected=expected,
            hint='pip install ".[train]" in the project\'s folder',
        ) from error
