// TensorRT: runs what `rs-export --engine` built for this very machine.
//
// Nothing is handed to TensorRT before the engine's sidecar has been compared with the machine and
// its bytes with the sidecar: TensorRT runs code of what it deserialises. Tensors are bound by
// name. Each run has an execution context, a stream and device memory to itself; they are kept for
// the next one. Compiled from TensorRT's headers, 10.0 to 11.x; not run on a GPU yet.
#include "engines/tensorrt_engine.h"

#include <NvInferRuntime.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <set>
#include <utility>

#include "contracts/engine_file.h"
#include "contracts/sha256.h"
#include "engines/cuda_memory.h"
#include "engines/failure.h"
#include "engines/shared_library.h"

namespace refinestyle {
namespace {

constexpr const char* kHint = "build the engines again on this machine: rs-export --engine";
#if defined(_WIN32)
constexpr const char* kPlatform = "win32-AMD64";
#elif defined(__aarch64__)
constexpr const char* kPlatform = "linux-aarch64";
#else
constexpr const char* kPlatform = "linux-x86_64";
#endif

InstalledLibrary library() {
  const int major = NV_TENSORRT_MAJOR;
#ifdef _WIN32
  return {"TensorRT", major, "nvinfer_" + std::to_string(major) + ".dll"};
#else
  return {"TensorRT", major, "libnvinfer.so." + std::to_string(major)};
#endif
}

// Keeps the last errors for messages.
class Log final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const nvinfer1::AsciiChar* text) noexcept override {
    if (severity != Severity::kERROR && severity != Severity::kINTERNAL_ERROR) return;
    try {
      const std::lock_guard<std::mutex> lock(mutex_);
      errors_.emplace_back(text);
      if (errors_.size() > kKept) errors_.pop_front();
    } catch (const std::exception&) {  // a message less when memory ran out
    }
  }

  std::string take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::string all;
    for (const std::string& text : errors_) all += (all.empty() ? "" : "; ") + text;
    errors_.clear();
    return all;
  }

 private:
  static constexpr std::size_t kKept = 3;
  std::mutex mutex_;
  std::deque<std::string> errors_;
};

std::string version() {
  std::string text;
  for (const char* part : {"Major", "Minor", "Patch", "Build"}) {
    const std::string symbol = std::string("getInferLib") + part + "Version";
    const auto number = load_function<decltype(&getInferLibVersion)>(library(), symbol.c_str());
    text += (text.empty() ? "" : ".") + std::to_string(number());
  }
  return text;
}

// TensorRT's runtime. There is one a process, and it is never ended: engines may outlive whatever
// else is ended at exit.
class Library {
 public:
  static Library& get() {
    static Library& shared = *new Library;
    return shared;
  }

  // The error of a call that failed, with what TensorRT last complained of.
  Error failed(const std::string& what) {
    return engine_failed("TensorRT " + what, log_.take(), kHint);
  }

  // Registers the plugins of a library, once; their hash tells libraries apart, as TensorRT refuses
  // to register the same plugins twice.
  void load_plugins(const std::string& path, const std::string& sha256) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (plugins_.count(sha256)) return;
    if (runtime_->getPluginRegistry().loadLibrary(path.c_str()) == nullptr) {
      throw failed("cannot load the plugins " + path);
    }
    plugins_.insert(sha256);
  }

  std::unique_ptr<nvinfer1::ICudaEngine> deserialize(const std::string& label, const Bytes& data) {
    std::unique_ptr<nvinfer1::ICudaEngine> engine(
        runtime_->deserializeCudaEngine(data.data(), data.size()));
    if (!engine) throw failed("cannot open the engine '" + label + "'");
    return engine;
  }

 private:
  Library() {
    const auto create = load_function<decltype(&createInferRuntime_INTERNAL)>(
        library(), "createInferRuntime_INTERNAL");
    runtime_ = static_cast<nvinfer1::IRuntime*>(create(&log_, NV_TENSORRT_VERSION));
    if (runtime_ == nullptr) {
      throw Error(Status::kResource, "TensorRT is installed but does not start",
                  one_line(log_.take()), "",
                  "check the driver (nvidia-smi), or use the provider auto");
    }
  }

  Log log_;
  nvinfer1::IRuntime* runtime_ = nullptr;
  std::mutex mutex_;
  std::set<std::string> plugins_;
};

nvinfer1::Dims dims_of(const Shape& shape) {
  nvinfer1::Dims dims{};
  dims.nbDims = static_cast<std::int32_t>(shape.size());
  std::copy(shape.begin(), shape.end(), dims.d);
  return dims;
}

DType dtype_of(const std::string& name) {
  for (DType dtype : {DType::kUint8, DType::kInt64, DType::kFloat16}) {
    if (name == dtype_name(dtype)) return dtype;
  }
  return DType::kFloat32;  // sidecars were checked: there is no other
}

std::string dtype_text(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kUINT8:
      return dtype_name(DType::kUint8);
    case nvinfer1::DataType::kINT64:
      return dtype_name(DType::kInt64);
    case nvinfer1::DataType::kHALF:
      return dtype_name(DType::kFloat16);
    case nvinfer1::DataType::kFLOAT:
      return dtype_name(DType::kFloat32);
    default:
      return "type " + std::to_string(static_cast<int>(type));
  }
}

template <class Entries, class Text>
std::string joined(const Entries& entries, Text text_of) {
  std::string list;
  for (const auto& entry : entries) list += (list.empty() ? "" : ", ") + text_of(entry);
  return list;
}

// Compares names, directions and dtypes with the sidecar, so that binding by name is safe.
void check_tensors(const std::string& label, const nvinfer1::ICudaEngine& engine,
                   const EngineFile& sidecar) {
  std::set<std::string> found, expected;
  for (std::int32_t i = 0; i < engine.getNbIOTensors(); ++i) {
    const char* name = engine.getIOTensorName(i);
    const bool input = engine.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
    found.insert((input ? "input " : "output ") + std::string(name) + " " +
                 dtype_text(engine.getTensorDataType(name)));
  }
  for (const TensorSpec& spec : sidecar.inputs) {
    if (!sidecar.profile.count(spec.name)) {
      throw Error(Status::kMalformed,
                  "the sidecar of the engine '" + label + "' has no shapes for " + spec.name, "",
                  "", kHint);
    }
    expected.insert("input " + spec.name + " " + spec.dtype);
  }
  for (const TensorSpec& spec : sidecar.outputs) {
    expected.insert("output " + spec.name + " " + spec.dtype);
  }
  if (found == expected) return;
  const auto same = [](const std::string& text) { return text; };
  throw Error(Status::kIncompatible,
              "the engine '" + label + "' has other tensors than its sidecar says",
              joined(found, same), joined(expected, same), kHint);
}

// Compares the shapes that an engine takes with the graph that it is said to be built from.
void check_sides(const EngineFile& sidecar, const TensorSpec& spec) {
  const ShapeRange& range = sidecar.profile.at(spec.name);
  bool same = range.min.size() == spec.shape.size();
  for (std::size_t i = 0; same && i < spec.shape.size(); ++i) {
    const auto* side = std::get_if<std::int64_t>(&spec.shape[i]);
    same = side == nullptr || (range.min[i] == *side && range.max[i] == *side);
  }
  if (same) return;
  throw Error(Status::kIncompatible,
              "the engine was built from another graph than the bundle's " + sidecar.role,
              spec.name + " " + to_text(range.min) + " to " + to_text(range.max), "",
              "give trtexec the role's own graph for TensorRT, as the manifest names it");
}

// What one run needs to itself: an execution context, a stream, and memory for each tensor.
class Lane {
 public:
  Lane(const std::string& label, nvinfer1::ICudaEngine& engine,
       const std::vector<TensorSpec>& outputs)
      : label_(label), outputs_(outputs), context_(engine.createExecutionContext()) {
    if (!context_)
      throw Library::get().failed("cannot prepare a run of the engine '" + label + "'");
  }

  Tensors run(const Views& inputs) {
    for (const auto& [name, view] : inputs) {
      require(context_->setInputShape(name.c_str(), dims_of(view.shape)));
      bind(name, view.size_bytes());
    }
    Tensors outputs;
    for (const TensorSpec& spec : outputs_) {
      const Tensor& own = outputs[spec.name] = Tensor(dtype_of(spec.dtype), shape_of(spec.name));
      bind(spec.name, own.bytes.size());
    }
    try {
      for (const auto& [name, view] : inputs) {
        stream_.upload(view.data, *buffers_.at(name), view.size_bytes());
      }
      require(context_->enqueueV3(static_cast<cudaStream_t>(stream_.handle())));
      for (auto& [name, own] : outputs) {
        stream_.download(*buffers_.at(name), own.bytes.data(), own.bytes.size());
      }
    } catch (...) {
      stream_.settle();  // the device is done with the arrays before they go
      throw;
    }
    stream_.wait();
    return outputs;
  }

 private:
  // Gives a tensor memory of at least this size; what it has serves smaller shapes, too.
  void bind(const std::string& name, std::size_t size) {
    std::unique_ptr<DeviceBuffer>& held = buffers_[name];
    if (held && held->size() >= size) return;
    held = std::make_unique<DeviceBuffer>(size);
    require(context_->setTensorAddress(name.c_str(), held->address()));
  }

  Shape shape_of(const std::string& output) const {
    const nvinfer1::Dims dims = context_->getTensorShape(output.c_str());
    const bool known =
        dims.nbDims >= 0 && dims.nbDims <= nvinfer1::Dims::MAX_DIMS &&
        std::all_of(dims.d, dims.d + dims.nbDims, [](auto side) { return side >= 0; });
    require(known);
    return Shape(dims.d, dims.d + dims.nbDims);
  }

  void require(bool done) const {
    if (!done) throw Library::get().failed("cannot run the engine '" + label_ + "'");
  }

  const std::string& label_;
  const std::vector<TensorSpec>& outputs_;
  std::map<std::string, std::unique_ptr<DeviceBuffer>> buffers_;
  DeviceStream stream_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
};

class TensorRtEngine final : public Engine {
 public:
  TensorRtEngine(const Graph& graph, const FoundEngine& found)
      : label_(graph.label), sidecar_(found.sidecar), device_(current_device()) {
    const Bytes data = read_engine(found);
    const std::string plugins = read_plugin_library(found);
    if (!plugins.empty()) Library::get().load_plugins(plugins, sidecar_.plugin->sha256);
    engine_ = Library::get().deserialize(label_, data);
    check_tensors(label_, *engine_, sidecar_);
  }

  Tensors run(const Views& inputs) override {
    check(inputs);
    const OnDevice here(device_);
    std::unique_ptr<Lane> lane = take_lane();
    Tensors outputs = lane->run(inputs);
    // A lane that failed is not used again.
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(lane));
    return outputs;
  }

 private:
  std::unique_ptr<Lane> take_lane() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<Lane> lane = std::move(idle_.back());
        idle_.pop_back();
        return lane;
      }
    }
    return std::make_unique<Lane>(label_, *engine_, sidecar_.outputs);
  }

  void check(const Views& inputs) const {
    bool same = inputs.size() == sidecar_.inputs.size();
    for (const TensorSpec& spec : sidecar_.inputs) same = same && inputs.count(spec.name);
    if (!same) {
      throw wrong_inputs(label_,
                         joined(sidecar_.inputs, [](const auto& spec) { return spec.name; }),
                         joined(inputs, [](const auto& entry) { return entry.first; }));
    }
    for (const TensorSpec& spec : sidecar_.inputs) check(spec, inputs.at(spec.name));
  }

  void check(const TensorSpec& spec, const TensorView& view) const {
    const ShapeRange& sides = sidecar_.profile.at(spec.name);
    bool fits = spec.dtype == dtype_name(view.dtype) && view.shape.size() == sides.min.size();
    for (std::size_t i = 0; fits && i < view.shape.size(); ++i) {
      fits = sides.min[i] <= view.shape[i] && view.shape[i] <= sides.max[i];
    }
    if (fits) return;
    throw Error(Status::kIncompatible,
                "the engine '" + label_ + "' was not built for this input: " + spec.name,
                dtype_name(view.dtype) + (" " + to_text(view.shape)),
                spec.dtype + " " + to_text(sides.min) + " to " + to_text(sides.max),
                "use a smaller batch or fewer domains at once");
  }

  std::string label_;
  EngineFile sidecar_;
  int device_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Lane>> idle_;  // ends before the engine does
};

}  // namespace

Machine this_machine() {
  const std::string tensorrt = version();
  const DeviceName device = device_name();
  return {tensorrt, device.gpu, device.compute_capability, driver_version(), kPlatform};
}

void describe_shapes(EngineFile& sidecar, const Bytes& engine, const std::string& plugins) {
  if (sidecar.plugin) Library::get().load_plugins(plugins, sidecar.plugin->sha256);
  const auto opened = Library::get().deserialize(sidecar.role, engine);
  for (const TensorSpec& spec : sidecar.inputs) {
    const auto sides = [&](nvinfer1::OptProfileSelector which) {
      const nvinfer1::Dims dims = opened->getProfileShape(spec.name.c_str(), 0, which);
      return std::vector<std::int64_t>(dims.d, dims.d + std::max(dims.nbDims, 0));
    };
    sidecar.profile[spec.name] = {sides(nvinfer1::OptProfileSelector::kMIN),
                                  sides(nvinfer1::OptProfileSelector::kOPT),
                                  sides(nvinfer1::OptProfileSelector::kMAX)};
  }
  check_tensors(sidecar.role, *opened, sidecar);
  for (const TensorSpec& spec : sidecar.inputs) check_sides(sidecar, spec);
}

std::unique_ptr<Engine> open_tensorrt(const Graph& graph) {
  const FoundEngine found =
      find_engine(graph.bundle, graph.label, this_machine(), sha256_hex(graph.bytes));
  return std::make_unique<TensorRtEngine>(graph, found);
}

}  // namespace refinestyle
