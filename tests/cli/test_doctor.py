"""``rs-run doctor``: finds what is broken, names the command that mends it, changes nothing."""

import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from rs_runtime.cli import run
from rs_runtime.cli._verbs import group
from rs_runtime.contracts.bundle import Golden, write_bundle
from rs_runtime.diagnostics import doctor
from tests.runtime.tiny_bundle import build, manifest_and_contents


def examined(capsys, *args: str, code: int = 0) -> dict[str, dict]:
    with pytest.raises(SystemExit) as ending:
        run(group, "rs-run", ["doctor", "--json", *args])
    out, err = capsys.readouterr()
    assert ending.value.code == code, (out, err)
    return {finding["subject"]: finding for finding in json.loads(out)}


def with_golden(folder, wrong: float):
    """The tiny bundle with an example of the mapping whose stored output is off by ``wrong``."""
    manifest, contents = manifest_and_contents()
    arrays = {
        "z": np.array([[1, 2]], np.float32),
        "truncation_psi": np.array(0.5, np.float32),
        "w": np.array([[0.5, 1 + wrong]], np.float32),
    }
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        contents[f"golden/{name}.npy"] = buffer.getvalue()
    paths = {name: f"golden/{name}.npy" for name in arrays}
    inputs = {name: paths[name] for name in ("z", "truncation_psi")}
    golden = Golden("mapping", inputs, {"w": paths["w"]}, {"w": 1e-3})
    write_bundle(folder, replace(manifest, golden=(golden,)), contents)
    return str(folder)


def test_a_sound_installation_and_bundle(tmp_path, capsys):
    findings = examined(capsys, "--bundle", with_golden(tmp_path / "b", 0.0))
    assert {finding["state"] for finding in findings.values()} <= {"ok", "absent"}
    assert findings["provider cpu"]["state"] == findings["self-test cpu"]["state"] == "ok"
    assert "numpy" in findings["packages"]["detail"]
    for subject in ("system", "bundle", "cache", "provider tensorrt"):
        assert findings[subject]["detail"]


def test_lines_for_people(tmp_path, capsys):
    with pytest.raises(SystemExit) as ending:
        run(group, "rs-run", ["doctor", "--bundle", str(tmp_path / "none")])
    out = capsys.readouterr().out
    assert ending.value.code == 2
    assert "\nok      provider cpu: onnxruntime, a graph of one node ran\n" in out
    assert "\nPROBLEM bundle: " in out


def test_wrong_numbers_are_found(tmp_path, capsys):
    findings = examined(capsys, "--bundle", with_golden(tmp_path / "b", 0.01), code=7)
    assert findings["self-test cpu"]["state"] == "problem"
    assert "mapping.w differs" in findings["self-test cpu"]["detail"]


def test_a_damaged_bundle_is_found(tmp_path, capsys):
    folder = build(tmp_path / "b")
    data = (folder / "mapping.onnx").read_bytes()
    (folder / "mapping.onnx").write_bytes(data[:-1] + b"?")
    findings = examined(capsys, "--bundle", str(folder), code=3)
    assert "mapping.onnx" in findings["bundle"]["detail"] and findings["bundle"]["fix"]


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (("onnxruntime", "onnxruntime-gpu"), "onnxruntime-gpu"),
        (("opencv-python", "opencv-python-headless"), "opencv-python-headless"),
    ],
)
def test_wheels_that_overwrite_each_other(names, kept, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_installed_names", lambda: dict.fromkeys(names, "1.0"))
    findings = examined(capsys, "--bundle", with_golden(tmp_path / "b", 0.0), code=6)
    assert findings["conflict"]["fix"].endswith(f"pip install {kept}")
    assert all(name in findings["conflict"]["detail"] for name in names)


def test_an_engine_that_does_not_load_is_told_from_one_that_is_absent(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(doctor, "installed", lambda: (["cpu"], {"openvino": "not installed"}))
    monkeypatch.setattr(doctor, "_bundle", lambda path, loaded: iter(()))
    findings = examined(capsys, code=6)
    assert findings["provider cpu"]["state"] == "problem"
    assert findings["provider openvino"] == findings["provider openvino"] | {"state": "absent"}
    assert findings["engines"]["fix"].startswith("pip install")
