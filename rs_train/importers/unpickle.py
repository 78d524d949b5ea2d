"""Pickles read as data: only the names of an exact list, each of them a stand-in."""

import io
import pickle
from collections.abc import Callable, Mapping

from rs_runtime.contracts.errors import IncompatibleError, RefineStyleError, UnsafeFileError
from rs_runtime.contracts.errors import MalformedFileError as Malformed

Names = Mapping[tuple[str, str], object]


class _Unpickler(pickle.Unpickler):
    """`pickle.Unpickler` with its two doors to the outside closed."""

    def __init__(
        self, stream: io.BytesIO, names: Names, persistent: Callable[[object], object] | None
    ) -> None:
        super().__init__(stream)
        self._names = names
        self._persistent = persistent

    def find_class(self, module: str, name: str) -> object:
        """Return the stand-in of a name; nothing is imported."""
        try:
            return self._names[module, name]
        except KeyError:
            pass
        found = f"{module}.{name}"[:120]
        if module.startswith("dnnlib.tflib"):
            raise IncompatibleError(
                "a TensorFlow pickle",
                found=found,
                expected="a file of a PyTorch project",
                hint="convert it with NVIDIA's own legacy.py first",
            )
        raise UnsafeFileError(
            "its pickle asks for more than tensors and plain containers",
            found=found,
            expected="a checkpoint that can be read without running code",
        )

    def persistent_load(self, pid: object) -> object:
        """Return the storage that a persistent id means."""
        if self._persistent is None:
            raise Malformed("its pickle refers to data outside itself")
        return self._persistent(pid)


def load(
    stream: io.BytesIO, names: Names, persistent: Callable[[object], object] | None = None
) -> object:
    """Read the pickle at the stream's position.

    Args:
        stream: Stands behind the pickle afterwards.
        names: What the pickle may name, and the stand-in of each.
        persistent: Gives the storage of a persistent id; by default there are none.

    Returns:
        Containers, numbers, texts and stand-ins.

    Raises:
        UnsafeFileError: It names something else.
        MalformedFileError: Not a pickle, or a damaged one.
        MemoryError: It asks for more than this process may have.
    """
    try:
        return _Unpickler(stream, names, persistent).load()
    except (RefineStyleError, MemoryError):
        raise
    except Exception as error:
        # The unpickler's failures have a dozen classes, and texts that help nobody.
        raise Malformed("its pickle is damaged, or it is no checkpoint") from error
