"""ONNX Runtime as an engine: graphs from bytes, strict providers, runs that Ctrl-C can stop.

Observed of ONNX Runtime 1.31 and answered here: a provider that is missing or fails to start is
replaced by the CPU with no more than a warning, and so is each operator that a provider does not
have; Ctrl-C waits until a run ends; a file given by
path is mapped and may change under a session; error texts carry full paths and source lines, and
not every failure has one of its own exception classes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_runtime.contracts.errors import IncompatibleError, RefineStyleError, ResourceError
from rs_runtime.engines.base import Value, as_array
from rs_runtime.engines.interruptible import interruptible

# Short name -> ONNX Runtime's name.
PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "rocm": "MIGraphXExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
# Where outputs of a provider can stay; what has no memory of its own is run on arrays.
_DEVICES = {"cuda": "cuda"}
# Heuristic: the default searches for the fastest convolution anew at every shape, and a domain's
# rank is a shape. TF32 keeps 10 bits where the bundle's numbers are those of fp32.
_OPTIONS = {
    "cuda": {
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
    }
}
# Operators that must not be left to the CPU. Arithmetic of shapes always is, on purpose, which is
# why `session.disable_cpu_ep_fallback` would refuse our graphs.
_WORK = {"Conv", "ConvTranspose", "MatMul", "Gemm", "AveragePool"}
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][^\s/\\:'\"]+){2,}")
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_MEMORY = ("bad_alloc", "failed to allocate", "out of memory", "memory allocation")


def _library() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ResourceError(
            "ONNX Runtime is not installed",
            hint='pip install ".[cpu]" in the project\'s folder, or ".[gpu]" for NVIDIA GPUs',
        ) from error
    return onnxruntime


def available_providers() -> list[str]:
    """Short names of the providers that the installed ONNX Runtime was built with."""
    built = _library().get_available_providers()
    return [name for name, full in PROVIDERS.items() if full in built]


class OnnxRuntimeEngine:
    """A graph in an ONNX Runtime session.

    Attributes:
        provider: Short name of the provider in use, equal to the one asked for.
        label: The graph's name in messages.
    """

    def __init__(
        self,
        label: str,
        graph: bytes,
        provider: str,
        threads: int | None = None,
        *,
        beside_another: bool = False,
    ) -> None:
        """Opens the graph.

        Args:
            label: What to call the graph in messages.
            graph: An ONNX model with its weights inside.
            provider: A key of ``PROVIDERS``; never replaced by another.
            threads: CPU threads of one run; None leaves ONNX Runtime's default.
            beside_another: Whether another engine's runs follow on the same CPUs. ONNX Runtime's
                threads go on turning for a while after a run, and would take them the time.

        Raises:
            ResourceError: The provider is absent or does not start; ONNX Runtime is missing.
            IncompatibleError: ONNX Runtime refuses the graph.
        """
        library = _library()
        require_built(provider)
        # With this variable set a model may set session options, such as writing profiles.
        os.environ.pop("ORT_LOAD_CONFIG_FROM_MODEL", None)
        options = library.SessionOptions()
        options.log_severity_level = 4  # failures come as exceptions; nothing else is for users
        options.add_session_config_entry("session.load_model_format", "ONNX")
        if threads is not None:
            options.intra_op_num_threads = threads
        if beside_another:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if provider != "cpu":
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        behind = [] if provider == "cpu" else [PROVIDERS["cpu"]]
        names = [(PROVIDERS[provider], _OPTIONS.get(provider, {})), *behind]
        if provider == "cuda" and hasattr(library, "preload_dlls"):
            library.preload_dlls()
        try:
            session = library.InferenceSession(graph, options, providers=names, enable_fallback=0)
        except Exception as error:  # its bindings also let UnicodeDecodeError and others through
            raise _opening_failed(library, label, provider, error) from error
        if PROVIDERS[provider] not in session.get_providers():
            raise _did_not_start(provider, "ONNX Runtime fell back to another provider")
        if provider != "cpu":
            _require_work(session, label, provider)
        self.label = label
        self.provider = provider
        self._device = _DEVICES.get(provider)
        self._session = session
        self._inputs = {value.name: value for value in session.get_inputs()}
        self._outputs = [value.name for value in session.get_outputs()]
        self._new_run_options = library.RunOptions

    def run(self, inputs: Mapping[str, Value], keep: Collection[str] = ()) -> dict[str, Any]:
        """Runs the graph once; see ``Engine.run``."""
        if set(inputs) != set(self._inputs):
            raise IncompatibleError(
                f"the graph {self.label!r} has other inputs than its manifest says",
                found=", ".join(sorted(self._inputs)),
                expected=", ".join(sorted(inputs)),
            )
        options = self._new_run_options()
        options.log_severity_level = 4
        run = self._run_on_arrays if self._device is None else self._run_bound
        try:
            values = interruptible(
                lambda: run(inputs, keep, options),
                lambda: setattr(options, "terminate", True),
            )
        except Exception as error:
            raise _running_failed(self.label, error) from error
        return dict(zip(self._outputs, values, strict=True))

    def _run_on_arrays(
        self, inputs: Mapping[str, Value], keep: Collection[str], options: Any
    ) -> list[NDArray[Any]]:
        feeds = {name: np.ascontiguousarray(as_array(value)) for name, value in inputs.items()}
        return self._session.run(self._outputs, feeds, options)

    def _run_bound(
        self, inputs: Mapping[str, Value], keep: Collection[str], options: Any
    ) -> list[Value]:
        """Runs with inputs that may be on the device and outputs that may stay there."""
        binding = self._session.io_binding()
        for name, value in inputs.items():
            if isinstance(value, np.ndarray):
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
            else:
                binding.bind_ortvalue_input(name, value)
        for name in self._outputs:
            binding.bind_output(name, self._device if name in keep else "cpu")
        self._session.run_with_iobinding(binding, options)
        values = zip(self._outputs, binding.get_outputs(), strict=True)
        return [value if name in keep else value.numpy() for name, value in values]


def _require_work(session: Any, label: str, provider: str) -> None:
    """Refuse a session that leaves more to the CPU than the arithmetic of shapes."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return  # older than the record of what runs where
    on_cpu = {
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name == PROVIDERS["cpu"]
        for node in part.get_nodes()
    }
    if on_cpu & _WORK:
        raise ResourceError(
            f"provider {provider!r} would leave parts of the graph {label!r} to the CPU",
            found=", ".join(sorted(on_cpu & _WORK)),
            hint="update ONNX Runtime, or use --provider auto",
        )


def require_built(provider: str) -> None:
    """Raises ResourceError unless the installed ONNX Runtime has the provider."""
    built = available_providers()
    if provider not in built:
        raise _absent(provider, built)


def _absent(provider: str, built: list[str]) -> ResourceError:
    if provider == "cuda":
        hint = (
            'pip uninstall -y onnxruntime && pip install ".[gpu]" in the project\'s folder '
            "(with an NVIDIA driver)"
        )
    else:
        hint = f"install an ONNX Runtime built with {PROVIDERS[provider]}"
    return ResourceError(
        f"provider {provider!r} is not in the installed ONNX Runtime",
        found=", ".join(built),
        expected=provider,
        hint=f"{hint}; or use --provider auto",
    )


def _did_not_start(provider: str, reason: str) -> ResourceError:
    return ResourceError(
        f"provider {provider!r} is installed but did not start",
        found=reason,
        expected="a working device and its driver",
        hint="check the driver (nvidia-smi), or use --provider auto",
    )


def _opening_failed(library: Any, label: str, provider: str, error: Exception) -> RefineStyleError:
    text = _short(error)
    if _is_memory(error):
        return ResourceError(f"not enough memory to open the graph {label!r}", found=text)
    if provider != "cpu" and PROVIDERS[provider].removesuffix("ExecutionProvider") in text:
        return _did_not_start(provider, text)
    return IncompatibleError(
        f"ONNX Runtime {library.__version__} cannot open the graph {label!r}",
        found=text,
        hint="export the bundle again with rs-export, or update onnxruntime",
    )


def _running_failed(label: str, error: Exception) -> RefineStyleError:
    text = _short(error)
    if _is_memory(error):
        return ResourceError(
            f"not enough memory to run the graph {label!r}",
            found=text,
            hint="use a smaller batch or fewer domains at once",
        )
    return IncompatibleError(f"ONNX Runtime cannot run the graph {label!r}", found=text)


def _is_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _MEMORY)


def _short(error: Exception) -> str:
    """A text in one line, without ONNX Runtime's prefix and the paths of who built it."""
    text = " ".join(str(error).split()) or type(error).__name__
    return _PATH.sub("…", _PREFIX.sub("", text))[:300]
