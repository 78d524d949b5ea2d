"""The C ABI as ctypes sees it, so that what a C program may do is done here."""

import ctypes
from collections.abc import Sequence
from ctypes import (
    POINTER,
    byref,
    c_char_p,
    c_double,
    c_int32,
    c_size_t,
    c_uint8,
    c_uint32,
    c_void_p,
)
from pathlib import Path
from typing import Any

import numpy as np


class Failure(Exception):
    """A call that gave another status than 0."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Pixels(ctypes.Structure):
    _fields_ = (
        ("data", c_void_p),
        ("width", c_int32),
        ("height", c_int32),
        ("row_bytes", c_size_t),
    )


class Options(ctypes.Structure):
    _fields_ = (
        ("provider", c_char_p),
        ("onnxruntime", c_char_p),
        ("threads", c_int32),
        ("allow_foreign", c_int32),
        ("trust", c_int32),
    )


class Domain(ctypes.Structure):
    _fields_ = (("tokens", c_void_p), ("strength", c_double))


class Mix(ctypes.Structure):
    _fields_ = (
        ("domains", POINTER(Domain)),
        ("count", c_size_t),
        ("image_strength", c_double),
    )


_RETURNS = {
    "version": c_char_p,
    "last_error": c_char_p,
    "providers": c_char_p,
    "provider": c_char_p,
    "domain_name": c_char_p,
    "tokens_name": c_char_p,
    "picture_pixels": Pixels,
    "default_options": Options,
    "error_limit": c_double,
    "domain_count": c_size_t,
    "inversion_count": c_size_t,
}
_TAKES = {
    "read_picture": (c_char_p, c_void_p),
    "decode_picture": (c_char_p, c_size_t, c_void_p),
    "picture_pixels": (c_void_p,),
    "picture_free": (c_void_p,),
    "write_png": (c_char_p, c_void_p),
    "open": (c_char_p, c_void_p, c_void_p),
    "close": (c_void_p,),
    "resolution": (c_void_p,),
    "provider": (c_void_p,),
    "error_limit": (c_void_p,),
    "domain_count": (c_void_p,),
    "domain_name": (c_void_p, c_size_t),
    "find_tokens": (c_void_p, c_char_p, c_void_p, c_void_p),
    "decode_tokens": (c_void_p, c_char_p, c_size_t, c_void_p),
    "tokens_name": (c_void_p,),
    "tokens_free": (c_void_p,),
    "invert": (c_void_p, c_void_p, c_size_t, c_void_p),
    "restore": (c_void_p, c_void_p, c_void_p),
    "inversion_free": (c_void_p,),
    "inversion_count": (c_void_p,),
    "synthesize": (c_void_p, c_void_p, c_size_t, c_void_p, c_size_t),
    "reconstruction_errors": (c_void_p, c_void_p, c_size_t),
    "save_tokens": (c_void_p, c_size_t, c_char_p),
    "synth": (
        *(c_void_p, c_void_p, c_size_t, c_double),
        *(c_void_p, c_size_t, c_void_p, c_size_t),
    ),
}


class Library:
    """The loaded library; its functions by the names of the header without their prefix."""

    def __init__(self, path: Path) -> None:
        self.path = path
        loaded = ctypes.CDLL(str(path))
        for name in {*_TAKES, *_RETURNS}:
            function = loaded[f"refinestyle_{name}"]
            function.argtypes = _TAKES.get(name, ())
            function.restype = _RETURNS.get(name, c_int32)
            setattr(self, name, function)

    def check(self, status: int) -> None:
        """Raises what a status other than 0 stands for."""
        if status:
            raise Failure(status, self.last_error().decode())

    def made(self, function: Any, *arguments: Any) -> c_void_p:
        """Calls a function whose last argument is the handle that it fills."""
        handle = c_void_p()
        self.check(function(*arguments, byref(handle)))
        return handle

    def open_bundle(self, bundle: Path, **changes: Any) -> "Runtime":
        options = self.default_options()
        for name, value in changes.items():
            setattr(options, name, value)
        return Runtime(self, self.made(self.open, str(bundle).encode(), byref(options)))


class Runtime:
    """A runtime handle and what hangs on it."""

    def __init__(self, library: Library, handle: c_void_p) -> None:
        self.library = library
        self.handle = handle
        self.side = library.resolution(handle)

    def close(self) -> None:
        self.library.close(self.handle)
        self.handle = None

    @property
    def provider(self) -> str:
        return self.library.provider(self.handle).decode()

    @property
    def domains(self) -> list[str]:
        count = self.library.domain_count(self.handle)
        return [self.library.domain_name(self.handle, i).decode() for i in range(count)]

    def tokens(self, text: str) -> tuple[c_void_p, float]:
        """A token set by name or path, and its strength."""
        strength = c_double()
        handle = c_void_p()
        library = self.library
        own = byref(handle), byref(strength)
        library.check(library.find_tokens(self.handle, text.encode(), *own))
        return handle, strength.value

    def invert(self, pictures: Sequence[np.ndarray]) -> c_void_p:
        """Inverts uint8 [H, W, 3] pictures, whose rows may have gaps."""
        views = (Pixels * len(pictures))(
            *(Pixels(p.ctypes.data, p.shape[1], p.shape[0], p.strides[0]) for p in pictures)
        )
        return self.library.made(self.library.invert, self.handle, views, len(pictures))

    def synthesize(self, inversion: c_void_p, mixes: Sequence[Any] = ()) -> np.ndarray:
        """Draws with mixes, each a list of domain texts, or that with an image strength."""
        count = self.library.inversion_count(inversion)
        image = np.empty((count, self.side, self.side, 3), np.uint8)
        filled = self.mixes(mixes)
        self.library.check(
            self.library.synthesize(inversion, filled, len(mixes), image.ctypes.data, image.nbytes)
        )
        return image

    def synth(
        self, seeds: Sequence[int], mixes: Sequence[Any] = (), truncation_psi: float = 0.7
    ) -> np.ndarray:
        """Draws random pictures."""
        image = np.empty((len(seeds), self.side, self.side, 3), np.uint8)
        numbers = (c_uint32 * len(seeds))(*seeds)
        arguments = (self.handle, numbers, len(seeds), truncation_psi)
        filled = self.mixes(mixes)
        self.library.check(
            self.library.synth(*arguments, filled, len(mixes), image.ctypes.data, image.nbytes)
        )
        return image

    def errors(self, inversion: c_void_p) -> np.ndarray:
        """The reconstruction error of each picture."""
        errors = np.empty(self.library.inversion_count(inversion))
        self.library.check(
            self.library.reconstruction_errors(inversion, errors.ctypes.data, len(errors))
        )
        return errors

    def mixes(self, mixes: Sequence[Any]) -> Any:
        """Mixes as C takes them; their token sets live as long as the process."""
        filled = []
        for mix in mixes:
            texts, strength = mix if isinstance(mix, tuple) else (mix, 1.0)
            found = [self.tokens(text) for text in texts]
            domains = (Domain * len(found))(*(Domain(h.value, s) for h, s in found))
            filled.append(Mix(domains, len(found), strength))
        return (Mix * len(filled))(*filled)

    def read_picture(self, path: Path) -> np.ndarray:
        """A picture file as uint8 [H, W, 3]."""
        handle = self.library.made(self.library.read_picture, str(path).encode())
        found = self.library.picture_pixels(handle)
        own = np.ctypeslib.as_array(
            ctypes.cast(found.data, POINTER(c_uint8)), (found.height, found.width, 3)
        ).copy()
        self.library.picture_free(handle)
        return own
