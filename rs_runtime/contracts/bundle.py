"""A bundle: a folder with graphs, domains, golden data and the manifest that vouches for them.

Reading trusts the manifest's list only: the folder must hold exactly the listed files, and the
bytes of a file are read once, compared with its SHA-256, and handed out. Engines get these bytes,
never a path behind which a file could change. Symbolic links are refused. Hard links are not:
package installers make them, and the hash covers what they could change.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rs_runtime.contracts.errors import (
    InternalError,
    MalformedFileError,
    RefineStyleError,
    UnsafeFileError,
    UsageError,
)
from rs_runtime.contracts.files import PathLike, atomic_directory, read_file, sha256_hex
from rs_runtime.contracts.manifest import (
    FORMAT,
    MANIFEST_NAME,
    SCHEMA_VERSION,
    FileEntry,
    Golden,
    Manifest,
    Reconstruction,
)
from rs_runtime.contracts.roles import MODEL_ROLES, Role, TensorSpec, Variant

__all__ = [
    "FORMAT",
    "MODEL_ROLES",
    "SCHEMA_VERSION",
    "Bundle",
    "FileEntry",
    "Golden",
    "Manifest",
    "Reconstruction",
    "Role",
    "TensorSpec",
    "Variant",
    "build_manifest",
    "read_bundle",
    "write_bundle",
]

MAX_MANIFEST_BYTES = 4_000_000
_REPAIR = "the bundle is damaged; get it again or export it again"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes:
        root: Its folder.
        manifest: What it says about itself.
        trusted: Whether the files' hashes are taken on trust.
    """

    root: Path
    manifest: Manifest
    trusted: bool = False

    def read(self, relpath: str) -> bytes:
        """Return the bytes of a listed file, checked against its size and SHA-256.

        Args:
            relpath: The path as in the manifest.

        Returns:
            The bytes, read from disk once.

        Raises:
            UsageError: The manifest does not list such a file.
            MalformedFileError: The file is missing or is not the one that was listed.
            UnsafeFileError: The file, or a folder on the way, is a symbolic link.
        """
        entry = self.manifest.files.get(relpath)
        if entry is None:
            raise UsageError(f"{self.root}: the bundle has no file {relpath}")
        path = self.root / relpath
        _refuse_links(self.root, relpath)
        try:
            data = read_file(path, max_bytes=entry.size, what="file of the bundle")
        except UnsafeFileError:
            raise _wrong_size(path, os.stat(path).st_size, entry) from None
        except UsageError as error:
            reason = error.found or "missing"
            raise MalformedFileError(
                f"{path}: a file of the bundle cannot be read", found=reason, hint=_REPAIR
            ) from error
        if len(data) != entry.size:
            raise _wrong_size(path, len(data), entry)
        if self.trusted:
            return data
        digest = sha256_hex(data)
        if digest != entry.sha256:
            raise MalformedFileError(
                f"{path}: not the file that the manifest lists",
                found=f"SHA-256 {digest[:16]}…",
                expected=f"{entry.sha256[:16]}…",
                hint=_REPAIR,
            )
        return data

    def verify(self) -> None:
        """Read every file once and compare it with the manifest; errors as `read`."""
        for relpath in self.manifest.files:
            self.read(relpath)


def read_bundle(path: PathLike, *, trust: bool = False) -> Bundle:
    """Open a bundle: read its manifest, and check names, kinds and sizes of all its files.

    Contents are hashed when they are read, see `Bundle.read` and `Bundle.verify`.

    Args:
        path: The bundle's folder.
        trust: Compare names, kinds and sizes alone: for applications that have verified the
            folder themselves, by a signature of their own.

    Returns:
        The bundle.

    Raises:
        UsageError: No such folder.
        MalformedFileError: No manifest, a damaged one, or files that are missing, extra or of the
            wrong size.
        UnsafeFileError: A symbolic link or special file in the folder, or a path that leads out.
        IncompatibleError: Written by a newer version.
    """
    root = Path(path)
    try:
        is_folder = root.is_dir()
    except ValueError:
        is_folder = False
    if not is_folder:
        problem = "not a folder" if root.is_file() else "there is no such folder"
        raise UsageError(f"{root}: {problem}", expected="the folder of a bundle")
    manifest_path = root / MANIFEST_NAME
    if not os.path.lexists(manifest_path):
        raise MalformedFileError(f"{root}: not a bundle", expected=f"a {MANIFEST_NAME} in it")
    _refuse_links(root, MANIFEST_NAME)
    data = read_file(manifest_path, max_bytes=MAX_MANIFEST_BYTES, what="manifest")
    bundle = Bundle(root, Manifest.from_json(data, str(manifest_path)), trust)
    _check_folder(bundle)
    return bundle


def build_manifest(manifest: Manifest, contents: Mapping[str, bytes]) -> Manifest:
    """Return `manifest` with `files` listing `contents`, checked as a reader will check it.

    Args:
        manifest: Its `files` are ignored.
        contents: Bytes by path of every file except the manifest.

    Raises:
        UsageError: A reader would refuse it; the message says why.
        InternalError: `parity` or `record` has values that JSON has not.
    """
    files = {path: FileEntry(len(data), sha256_hex(data)) for path, data in contents.items()}
    listed = replace(manifest, files=files)
    try:
        Manifest.from_json(listed.to_json(), MANIFEST_NAME)
    except RefineStyleError as error:
        raise UsageError(
            f"a bundle like this could not be read: {error.what}",
            found=error.found,
            expected=error.expected,
        ) from error
    except (TypeError, ValueError) as error:
        raise InternalError("the manifest cannot be written as JSON", found=str(error)) from error
    return listed


def write_bundle(path: PathLike, manifest: Manifest, contents: Mapping[str, bytes]) -> Manifest:
    """Write a bundle completely or not at all; an older bundle there is replaced.

    Args:
        path: The folder; its parent must exist.
        manifest: As for `build_manifest`.
        contents: As for `build_manifest`.

    Returns:
        The manifest as written, with `files`.

    Raises:
        UsageError: See `build_manifest`; or a folder with anything but a bundle in it is there.
        ResourceError: Not writable, or disk full; what was there is unchanged.
    """
    listed = build_manifest(manifest, contents)
    with atomic_directory(path, may_replace=_is_only_a_bundle) as folder:
        for relpath, data in contents.items():
            target = folder / relpath
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        (folder / MANIFEST_NAME).write_bytes(listed.to_json())
    return listed


def _is_only_a_bundle(folder: Path) -> bool:
    """Whether a folder holds a bundle and nothing else: replacing it loses no other file."""
    try:
        read_bundle(folder)
    except MalformedFileError as error:
        # A damaged bundle may be replaced, somebody's own files may not.
        return isinstance(error, DamagedBundleError)
    except RefineStyleError:
        return False
    return True


class DamagedBundleError(MalformedFileError):
    """A bundle with a sound manifest whose listed files are missing or of the wrong size."""


def _check_folder(bundle: Bundle) -> None:
    """Compare the folder with the manifest's list by name, kind and size."""
    files = bundle.manifest.files
    folders = {path[:i] for path in files for i, ch in enumerate(path) if ch == "/"}
    sizes = {}
    for relpath, status in _walk(bundle.root, ""):
        path = bundle.root / relpath
        if stat.S_ISLNK(status.st_mode):
            raise _is_link(path)
        if stat.S_ISDIR(status.st_mode):
            if relpath not in folders:
                raise _extra(path)
        elif not stat.S_ISREG(status.st_mode):
            raise UnsafeFileError(f"{path}: a special file in a bundle", expected="regular files")
        elif relpath in files:
            sizes[relpath] = status.st_size
        elif relpath != MANIFEST_NAME:
            raise _extra(path)
    for relpath, entry in files.items():
        path = bundle.root / relpath
        if relpath not in sizes:
            raise DamagedBundleError(f"{path}: a file of the bundle is missing", hint=_REPAIR)
        if sizes[relpath] != entry.size:
            raise _wrong_size(path, sizes[relpath], entry)


def _walk(root: Path, inside: str) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below a folder, without following links; folders come before what they hold."""
    with os.scandir(root / inside) as entries:
        for entry in entries:
            relpath = f"{inside}/{entry.name}" if inside else entry.name
            status = entry.stat(follow_symlinks=False)
            yield relpath, status
            if stat.S_ISDIR(status.st_mode):
                yield from _walk(root, relpath)


def _refuse_links(root: Path, relpath: str) -> None:
    path = root
    for part in relpath.split("/"):
        path = path / part
        if path.is_symlink():
            raise _is_link(path)


def _is_link(path: Path) -> UnsafeFileError:
    return UnsafeFileError(
        f"{path}: a symbolic link in a bundle",
        expected="regular files",
        hint="copy the bundle with its links resolved: cp -rL",
    )


def _extra(path: Path) -> MalformedFileError:
    return MalformedFileError(
        f"{path}: not listed in the bundle's manifest", hint="remove it from the bundle's folder"
    )


def _wrong_size(path: Path, size: int, entry: FileEntry) -> DamagedBundleError:
    return DamagedBundleError(
        f"{path}: wrong size",
        found=f"{size:,} bytes",
        expected=f"{entry.size:,}",
        hint=_REPAIR,
    )
