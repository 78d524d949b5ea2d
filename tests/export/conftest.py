"""The tiny model, loaded, traced and exported once for all tests here."""

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import onnx
import pytest

from rs_export.cases import fixed_cases
from rs_export.export import ExportedModel, export_model, role_graphs
from rs_export.graphs.role import Arrays, TracedRole
from rs_export.sources import Parts, find_sources, load_parts
from tests.export.tiny_model import save_checkpoints, short_trunk
from tests.plugins.conftest import built, host_library  # noqa: F401  fixtures


@pytest.fixture(autouse=True)
def tiny_networks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Encoders have four units in these tests, except in the nightly ones."""
    if request.node.get_closest_marker("nightly"):
        yield
    else:
        with short_trunk():
            yield


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    with short_trunk():
        save_checkpoints(folder)
    return folder


@pytest.fixture(scope="session")
def parts(checkpoints: Path) -> Parts:
    with short_trunk():
        return load_parts(find_sources("two_stage", [checkpoints]))


@pytest.fixture(scope="session")
def traced(parts: Parts) -> dict[str, onnx.ModelProto]:
    """Every role's graph in the intermediate form."""
    with short_trunk():
        return {name: role.intermediate() for name, role in role_graphs(parts).items()}


@pytest.fixture(scope="session")
def cases(parts: Parts) -> dict[str, list[Arrays]]:
    with short_trunk():
        return fixed_cases(role_graphs(parts), parts.generator)


@pytest.fixture(scope="session")
def trace_once(traced: dict[str, onnx.ModelProto]) -> mock._patch:
    """A context in which graphs come from the one tracing above."""
    return mock.patch.object(TracedRole, "intermediate", lambda self: traced[self.name])


@pytest.fixture
def quick(trace_once: mock._patch) -> Iterator[None]:
    with trace_once:
        yield


@pytest.fixture(scope="session")
def exported(parts: Parts, trace_once: mock._patch) -> ExportedModel:
    """The tiny model, fp16-stored."""
    with short_trunk(), trace_once:
        return export_model(parts, fp16=True, progress=lambda line: None)
