"""Run with NVIDIA's bindings and the stub libraries on their paths: what the bindings hold.

Prints JSON: the version; members by class, "" for the package itself; the signatures in the
docstrings; the flags that a build would ask for; what the progress monitor passed on; and what the
runner's logger kept and its runtime, of which the stubs make none, was refused with.
"""

import importlib
import json
import sys

trt = importlib.import_module("tensorrt_bindings")
sys.modules["tensorrt"] = trt

from rs_export import engine  # noqa: E402
from rs_runtime.contracts.errors import ResourceError  # noqa: E402
from rs_runtime.engines import tensorrt_engine  # noqa: E402

members, signatures = {"": dir(trt)}, {}
for name in dir(trt):
    value = getattr(trt, name)
    if isinstance(value, type):
        members[name] = dir(value)
        for member in dir(value):
            signatures[f"{name}.{member}"] = getattr(value, member).__doc__ or ""

steps = []
monitor = engine._monitor(trt, lambda *step: steps.append(step))
monitor.phase_start("whole", None, 2)
monitor.phase_start("part", "whole", 5)
goes_on = [monitor.step_complete("part", 0), monitor.step_complete("whole", 0)]
monitor.phase_finish("whole")  # before its last step
monitor.cancel()
goes_on.append(monitor.step_complete("part", 1))

log = tensorrt_engine._log()
log.log(trt.ILogger.ERROR, "bad")
log.log(trt.ILogger.INFO, "good")
try:
    tensorrt_engine._runtime()
    refusal = ""
except ResourceError as error:
    refusal = error.what

facts = {
    "version": trt.__version__,
    "members": members,
    "signatures": signatures,
    "network_flags": engine._network_flags(trt),
    "strongly_typed": int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED),
    "is_monitor": isinstance(monitor, trt.IProgressMonitor),
    "steps": steps,
    "goes_on": goes_on,
    "is_logger": isinstance(log, trt.ILogger),
    "logged": list(log.errors),
    "refusal": refusal,
}
print(json.dumps(facts))
