"""Where training pictures lie: folders and uncompressed zips, read one file at a time.

A zip of a million pictures is one file to copy and one to open; stored, not compressed, its entries
cost no more to read than files of a folder, and none can unpack to more than it is.
"""

import os
import zipfile
from pathlib import Path, PurePosixPath
from typing import Protocol

from rs_runtime.contracts.errors import (
    IncompatibleError,
    MalformedFileError,
    UnsafeFileError,
    UsageError,
)
from rs_runtime.contracts.files import read_file
from rs_runtime.image_io import MAX_FILE_BYTES

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_ENCRYPTED = 0x1


class PictureFiles(Protocol):
    """Files of pictures.

    Attributes:
        root: The folder or zip.
        names: Relative POSIX paths of the pictures, sorted by their parts.
    """

    root: Path
    names: list[str]

    def read(self, name: str) -> bytes:
        """The bytes of one picture's file; may be called from several threads."""


def open_pictures(path: Path) -> PictureFiles:
    """Lists the pictures of a folder and the folders inside it, or of a zip; or one picture alone.

    Raises:
        UsageError: None of them, or without pictures.
        RefineStyleError: See `ZipFiles`.
    """
    path = Path(path)
    if path.is_dir():
        found: PictureFiles = FolderFiles(path)
    elif path.is_file() and _is_picture(path.name):
        found = OneFile(path)
    elif path.is_file():
        found = ZipFiles(path)
    else:
        raise UsageError(
            f"{path}: no such folder or zip",
            hint=f"rs-train render --out {path} --count 1000 --size 128",
        )
    if not found.names:
        raise UsageError(f"{path}: holds no pictures", expected="PNG, JPEG or WebP files")
    return found


class FolderFiles:
    """Pictures of a folder and the folders inside it, hidden ones left out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        found = []
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = Path(folder).relative_to(root)
            found += [(inside / name).as_posix() for name in files if _is_picture(name)]
        self.names = sorted(found, key=_parts)

    def read(self, name: str) -> bytes:
        """The bytes of one file.

        Raises:
            RefineStyleError: See `rs_runtime.contracts.files.read_file`.
        """
        return read_file(self.root / name, max_bytes=MAX_FILE_BYTES, what="picture")


class OneFile(FolderFiles):
    """A picture by itself."""

    def __init__(self, path: Path) -> None:
        self.root = path.parent
        self.names = [path.name]


class ZipFiles:
    """Pictures of a zip whose entries are stored."""

    def __init__(self, root: Path) -> None:
        """Reads the directory of the zip.

        Raises:
            MalformedFileError: Not a zip, a damaged one, or with two entries of one name.
            UnsafeFileError: An entry's name leads out of the zip.
            IncompatibleError: A picture is compressed or encrypted.
        """
        self.root = root
        try:
            self._zip = zipfile.ZipFile(root)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise MalformedFileError(
                f"{root}: not a folder, nor a zip that can be read", found=str(error)[:200]
            ) from error
        entries = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        for entry in entries:
            self._check(entry)
        names = [entry.filename for entry in entries if _is_picture(entry.filename)]
        if len(set(names)) != len(names):
            raise MalformedFileError(f"{root}: two entries of one name")
        self.names = sorted(names, key=_parts)

    def read(self, name: str) -> bytes:
        """The bytes of one entry, its checksum compared.

        Raises:
            MalformedFileError: The entry is damaged.
            UnsafeFileError: It is too large.
        """
        if self._zip.getinfo(name).file_size > MAX_FILE_BYTES:
            raise UnsafeFileError(
                f"{self.root}: {name}: too large", expected=f"at most {MAX_FILE_BYTES:,} bytes"
            )
        try:
            return self._zip.read(name)
        except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
            raise MalformedFileError(
                f"{self.root}: {name}: damaged", found=str(error)[:200]
            ) from error

    def _check(self, entry: zipfile.ZipInfo) -> None:
        # `orig_filename` is what the file says; `filename` ends at a NUL.
        name = entry.orig_filename
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or any(c in name for c in "\\:\0"):
            raise UnsafeFileError(
                f"{self.root}: a name that leads out of the zip", found=name[:120]
            )
        if entry.flag_bits & _ENCRYPTED or (
            _is_picture(name) and entry.compress_type != zipfile.ZIP_STORED
        ):
            raise IncompatibleError(
                f"{self.root}: {name} is compressed or encrypted",
                expected="stored entries",
                hint="pictures are compressed already; pack them with: zip -0 -r pictures.zip DIR",
            )


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not is_hidden


def _parts(name: str) -> list[str]:
    return name.split("/")
