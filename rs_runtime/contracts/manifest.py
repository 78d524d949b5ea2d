"""The manifest of a bundle: what is in its folder, how it was made, how well it works.

Reading is strict: unknown fields, missing fields, wrong types and references to files that are not
listed are refused. Writing is canonical JSON, so equal manifests are equal bytes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError
from rs_runtime.contracts.fields import (
    check_hash,
    check_identifier,
    check_integer,
    check_list,
    check_mapping,
    check_measure,
    check_object,
    check_path,
    check_text,
)
from rs_runtime.contracts.image_spec import ImageSpec
from rs_runtime.contracts.layers import LayerTable
from rs_runtime.contracts.roles import INVERTERS, MODEL_ROLES, Role, read_role
from rs_runtime.contracts.strict_json import canonical_json, parse_json

FORMAT = "refinestyle-bundle"
SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
MAX_FILE_BYTES = 1 << 33
EDITS_FOLDER = "edits/"
EDIT_SUFFIX = ".direction"
CALIBRATION_PATH = "calibration.json"


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and SHA-256 of one file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Reconstruction:
    """How well the pictures it knows are reconstructed; far worse means an unknown kind of picture.

    Attributes:
        mse_p50: Median squared error in [-1, 1] units over held-out pictures.
        mse_p99: Their 99th percentile, the limit of the warning.
        pictures: How many pictures were measured.
        knows: What kind of picture that is, as in "this bundle knows rendered portraits".
    """

    mse_p50: float
    mse_p99: float
    pictures: int
    knows: str


@dataclass(frozen=True)
class Golden:
    """Stored inputs and outputs of one role, for a self-test without the training code.

    Attributes:
        role: The role.
        inputs: Path of a `.npy` file by input name.
        outputs: Path of a `.npy` file by output name.
        max_abs: Largest absolute difference that passes, by output name.
    """

    role: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    max_abs: dict[str, float]


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says.

    Attributes:
        model: A key of `MODEL_ROLES`.
        layer_table: The generator's layers.
        image: Its picture rules.
        generator_fingerprint: `fingerprint_synthesis` of the generator.
        rank: L of an inverted picture's tokens, 0 where there are none.
        roles: By name.
        domains: Path of a `.tokens` file by domain name.
        reconstruction: None for a model that inverts nothing.
        golden: Stored examples.
        parity: Measured differences between PyTorch, the graphs and the oracle.
        licences: Licence by part: weights, data, domains, ….
        record: How the bundle was made: commands, seeds, versions, commit.
        files: Every file of the bundle except the manifest itself, by path; `calibration.json` and
            those in `edits/` are the bundle's calibration and edits, which readers of schema 1 may
            do without.
        schema_version: Version of this layout.
    """

    model: str
    layer_table: LayerTable
    image: ImageSpec
    generator_fingerprint: str
    rank: int
    roles: dict[str, Role]
    domains: dict[str, str]
    reconstruction: Reconstruction | None
    golden: tuple[Golden, ...]
    parity: dict[str, Any]
    licences: dict[str, str]
    record: dict[str, Any]
    files: dict[str, FileEntry]
    schema_version: int = SCHEMA_VERSION

    @property
    def inverter(self) -> str | None:
        """The role that reads the picture first; None for a model that inverts nothing."""
        return next((name for name in INVERTERS if name in self.roles), None)

    @property
    def edits(self) -> dict[str, str]:
        """Path of a `.direction` file by name of the edit."""
        inside = (path for path in self.files if path.startswith(EDITS_FOLDER))
        return {path.removeprefix(EDITS_FOLDER).removesuffix(EDIT_SUFFIX): path for path in inside}

    def to_json(self) -> bytes:
        """Return the text of `manifest.json`, canonical.

        Raises:
            ValueError: `parity` or `record` holds NaN or an infinity.
            TypeError: `parity` or `record` holds something that JSON has not.
        """
        value = {field.name: getattr(self, field.name) for field in fields(self)}
        value["format"] = FORMAT
        value["layer_table"] = self.layer_table.to_json()
        value["image"] = self.image.to_json()
        value["roles"] = {name: asdict(role) for name, role in self.roles.items()}
        value["files"] = {path: asdict(entry) for path, entry in self.files.items()}
        value["golden"] = [asdict(golden) for golden in self.golden]
        value["reconstruction"] = self.reconstruction and asdict(self.reconstruction)
        return canonical_json(value)

    @staticmethod
    def from_json(data: bytes, what: str) -> "Manifest":
        """Read the text of a `manifest.json`.

        Args:
            data: The whole file.
            what: Its name for messages.

        Returns:
            The manifest; every path in it is relative, stays inside the bundle and is listed.

        Raises:
            MalformedFileError: Damaged or incomplete.
            UnsafeFileError: A path that leads out of the bundle.
            IncompatibleError: A newer schema, or a kind of model this version does not know.
        """
        value = check_mapping(parse_json(data, what), what)
        if value.pop("format", None) != FORMAT:
            raise MalformedFileError(f"{what}: not the manifest of a bundle", expected=FORMAT)
        version = check_integer(value.get("schema_version"), f"{what}: schema_version", 1, 10**6)
        if version > SCHEMA_VERSION:
            raise IncompatibleError(
                f"{what}: the bundle was written by a newer version",
                found=f"schema {version}",
                expected=f"at most {SCHEMA_VERSION}",
                hint="update this program, or export the bundle again with this version",
            )
        check_object(value, what, [field.name for field in fields(Manifest)])
        manifest = _manifest(value, f"{what}: ")
        _check_consistent(manifest, what)
        return manifest


def _manifest(value: dict[str, Any], at: str) -> Manifest:
    """Turn the fields into dataclasses; each is checked by itself."""
    reconstruction = value["reconstruction"]
    return Manifest(
        model=check_identifier(value["model"], f"{at}model"),
        layer_table=LayerTable.from_json(value["layer_table"], f"{at}layer table"),
        image=ImageSpec.from_json(value["image"], f"{at}image"),
        generator_fingerprint=check_hash(value["generator_fingerprint"], f"{at}fingerprint"),
        rank=check_integer(value["rank"], f"{at}rank", 0, 4096),
        roles={
            check_identifier(name, f"{at}roles"): read_role(role, f"{at}roles.{name}")
            for name, role in check_mapping(value["roles"], f"{at}roles").items()
        },
        domains=_paths(value["domains"], f"{at}domains"),
        reconstruction=None
        if reconstruction is None
        else _reconstruction(reconstruction, f"{at}reconstruction"),
        golden=tuple(
            _golden(golden, f"{at}golden[{i}]")
            for i, golden in enumerate(check_list(value["golden"], f"{at}golden"))
        ),
        parity=check_mapping(value["parity"], f"{at}parity"),
        licences={
            check_text(part, f"{at}licences"): check_text(licence, f"{at}licences.{part}")
            for part, licence in check_mapping(value["licences"], f"{at}licences").items()
        },
        record=check_mapping(value["record"], f"{at}record"),
        files={
            check_path(path, f"{at}files"): read_file_entry(entry, f"{at}files.{path}")
            for path, entry in check_mapping(value["files"], f"{at}files").items()
        },
        schema_version=value["schema_version"],
    )


def read_file_entry(value: Any, where: str) -> FileEntry:
    """Read size and SHA-256 of a file out of JSON; MalformedFileError for anything else."""
    check_object(value, where, ("size", "sha256"))
    return FileEntry(
        size=check_integer(value["size"], f"{where}.size", 0, MAX_FILE_BYTES),
        sha256=check_hash(value["sha256"], f"{where}.sha256"),
    )


def _reconstruction(value: Any, where: str) -> Reconstruction:
    check_object(value, where, [field.name for field in fields(Reconstruction)])
    return Reconstruction(
        mse_p50=check_measure(value["mse_p50"], f"{where}.mse_p50"),
        mse_p99=check_measure(value["mse_p99"], f"{where}.mse_p99"),
        pictures=check_integer(value["pictures"], f"{where}.pictures", 1, 10**9),
        knows=check_text(value["knows"], f"{where}.knows"),
    )


def _golden(value: Any, where: str) -> Golden:
    check_object(value, where, [field.name for field in fields(Golden)])
    return Golden(
        role=check_identifier(value["role"], f"{where}.role"),
        inputs=_paths(value["inputs"], f"{where}.inputs"),
        outputs=_paths(value["outputs"], f"{where}.outputs"),
        max_abs={
            check_identifier(name, f"{where}.max_abs"): check_measure(limit, f"{where}.max_abs")
            for name, limit in check_mapping(value["max_abs"], f"{where}.max_abs").items()
        },
    )


def _paths(value: Any, where: str) -> dict[str, str]:
    return {
        check_identifier(name, where): check_path(path, f"{where}.{name}")
        for name, path in check_mapping(value, where).items()
    }


def _check_consistent(manifest: Manifest, what: str) -> None:
    """Check what concerns several fields: roles per model, sizes, and files that are used."""
    needed = MODEL_ROLES.get(manifest.model)
    if needed is None:
        raise IncompatibleError(
            f"{what}: an unknown kind of model",
            found=manifest.model,
            expected=", ".join(MODEL_ROLES),
            hint="update this program",
        )
    missing = [name for name in needed if name not in manifest.roles]
    if missing:
        raise MalformedFileError(f"{what}: a {manifest.model} bundle without role {missing[0]}")
    if manifest.image.size != manifest.layer_table.resolution:
        raise MalformedFileError(
            f"{what}: image size and layer table differ",
            found=str(manifest.image.size),
            expected=str(manifest.layer_table.resolution),
        )
    _check_case(manifest.files, what)
    for golden in manifest.golden:
        _check_golden(golden, manifest.roles, what)
    referred = [variant.file for role in manifest.roles.values() for variant in role.variants]
    referred += manifest.domains.values()
    for golden in manifest.golden:
        referred += (*golden.inputs.values(), *golden.outputs.values())
    for name, path in manifest.edits.items():
        if path != f"{EDITS_FOLDER}{name}{EDIT_SUFFIX}" or "/" in name:
            raise MalformedFileError(
                f"{what}: a file among the edits that is none",
                found=path,
                expected=f"{EDITS_FOLDER}<name>{EDIT_SUFFIX}",
            )
    for path in referred:
        if path not in manifest.files:
            raise MalformedFileError(f"{what}: {path} is used but not listed under files")


def _check_golden(golden: Golden, roles: Mapping[str, Role], what: str) -> None:
    role = roles.get(golden.role)
    if role is None:
        raise MalformedFileError(f"{what}: golden data of an absent role", found=golden.role)
    outputs = {spec.name for spec in role.outputs}
    if set(golden.inputs) != {spec.name for spec in role.inputs} or not (
        golden.outputs and set(golden.outputs) <= outputs
    ):
        raise MalformedFileError(f"{what}: golden data that does not fit role {golden.role}")
    if set(golden.max_abs) != set(golden.outputs):
        raise MalformedFileError(f"{what}: golden tolerances that do not fit role {golden.role}")


def _check_case(files: Mapping[str, FileEntry], what: str) -> None:
    """Refuse what a file system that ignores case could not hold, and a file that is a folder."""
    seen: dict[str, str] = {MANIFEST_NAME: MANIFEST_NAME}
    folders = {path[:i] for path in files for i, ch in enumerate(path) if ch == "/"}
    for path in (*sorted(folders), *sorted(files)):
        other = seen.setdefault(path.lower(), path)
        if other != path or path == MANIFEST_NAME or (path in folders and path in files):
            raise MalformedFileError(f"{what}: two files of one name", found=f"{other} and {path}")
