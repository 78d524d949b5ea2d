#include "engines/onnxruntime_engine.h"

#include <onnxruntime_c_api.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "engines/failure.h"
#include "engines/shared_library.h"

namespace refinestyle {
namespace {

// The lowest version that has all that is called here, so that older libraries serve, too.
constexpr std::uint32_t kApiVersion = 14;
constexpr const char* kHint = "export the bundle again with rs-export, or update ONNX Runtime";
#ifdef _WIN32
constexpr const char* kLibrary = "onnxruntime.dll";
#elif defined(__APPLE__)
constexpr const char* kLibrary = "libonnxruntime.dylib";
#else
constexpr const char* kLibrary = "libonnxruntime.so.1";
#endif

// A pointer that one of the API's Release functions ends.
template <class T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

// A loaded library. It is never unloaded: its threads may outlive every session.
class Library {
 public:
  static const Library& of(const std::string& path) {
    static std::mutex mutex;
    static std::map<std::string, std::unique_ptr<Library>> loaded;
    const std::lock_guard<std::mutex> lock(mutex);
    std::unique_ptr<Library>& library = loaded[path];
    if (!library) library.reset(new Library(path.empty() ? kLibrary : path));
    return *library;
  }

  // Passes over a call that went well, else returns its text.
  std::string text_of(OrtStatus* status) const {
    if (status == nullptr) return "";
    const Owned<OrtStatus> own(status, api->ReleaseStatus);
    const std::string text = api->GetErrorMessage(status);
    return text.empty() ? "no reason given" : text;
  }

  void check(OrtStatus* status, const std::string& what) const {
    const std::string text = text_of(status);
    if (!text.empty()) throw engine_failed(what, text, kHint);
  }

  bool has(const std::string& provider) const {
    return std::find(providers.begin(), providers.end(), provider) != providers.end();
  }

  const OrtApi* api = nullptr;
  OrtEnv* env = nullptr;
  OrtMemoryInfo* memory = nullptr;
  std::vector<std::string> providers;

 private:
  explicit Library(const std::string& path) {
    using GetApiBase = const OrtApiBase*(ORT_API_CALL*)();
    const auto get = reinterpret_cast<GetApiBase>(load_symbol(path, "OrtGetApiBase"));
    api = get()->GetApi(kApiVersion);
    if (api == nullptr) {
      throw Error(Status::kResource, path + ": too old a version of ONNX Runtime",
                  get()->GetVersionString(), "1." + std::to_string(kApiVersion) + " or newer");
    }
    const std::string what = "ONNX Runtime does not start";
    check(api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "refinestyle", &env), what);
    check(api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory), what);
    char** names = nullptr;
    int count = 0;
    check(api->GetAvailableProviders(&names, &count), what);
    providers.assign(names, names + count);
    text_of(api->ReleaseAvailableProviders(names, count));
  }
};

ONNXTensorElementDataType element_type(DType dtype) {
  switch (dtype) {
    case DType::kUint8: return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
    case DType::kInt64: return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    case DType::kFloat16: return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;
    case DType::kFloat32: return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  }
  return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

DType dtype_of(ONNXTensorElementDataType type) {
  for (DType dtype : {DType::kUint8, DType::kInt64, DType::kFloat16, DType::kFloat32}) {
    if (element_type(dtype) == type) return dtype;
  }
  throw Error(Status::kIncompatible, "a graph's output is of a type that is not supported",
              std::to_string(type), "uint8, int64, float16 or float32");
}

std::string joined(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

Error did_not_start(const std::string& provider, const std::string& reason) {
  return Error(Status::kResource, "provider '" + provider + "' is there but did not start",
               one_line(reason), "a working device and its driver",
               "check the driver (nvidia-smi), or use the provider auto");
}

class OnnxRuntimeEngine final : public Engine {
 public:
  OnnxRuntimeEngine(const Graph& graph, const std::string& provider, const EngineOptions& options)
      : label_(graph.label),
        library_(Library::of(options.onnxruntime)),
        session_(nullptr, library_.api->ReleaseSession) {
    const OrtApi& api = *library_.api;
    const std::string what = "ONNX Runtime cannot open the graph '" + label_ + "'";
    OrtSessionOptions* made = nullptr;
    library_.check(api.CreateSessionOptions(&made), what);
    const Owned<OrtSessionOptions> own(made, api.ReleaseSessionOptions);
    library_.check(api.SetSessionLogSeverityLevel(made, ORT_LOGGING_LEVEL_FATAL), what);
    library_.check(api.AddSessionConfigEntry(made, "session.load_model_format", "ONNX"), what);
    if (options.threads > 0) {
      library_.check(api.SetIntraOpNumThreads(made, options.threads), what);
    }
    if (options.beside_another) {
      // Its threads would go on turning for a while after a run, and take the others the time.
      library_.check(api.AddSessionConfigEntry(made, "session.intra_op.allow_spinning", "0"), what);
    }
    if (provider == "cuda") append_cuda(made);
    OrtSession* session = nullptr;
    const std::string text = library_.text_of(api.CreateSessionFromArray(
        library_.env, graph.bytes.data(), graph.bytes.size(), made, &session));
    if (provider == "cuda" && text.find("CUDA") != std::string::npos) {
      throw did_not_start(provider, text);
    }
    if (!text.empty()) throw engine_failed(what, text, kHint);
    session_.reset(session);
    inputs_ = port_names(api.SessionGetInputCount, api.SessionGetInputName);
    outputs_ = port_names(api.SessionGetOutputCount, api.SessionGetOutputName);
  }

  Tensors run(const Views& inputs) override {
    std::vector<Owned<OrtValue>> owned;
    std::vector<const OrtValue*> values;
    std::vector<const char*> input_names, output_names;
    for (const std::string& name : inputs_) {
      const auto found = inputs.find(name);
      if (found == inputs.end() || inputs.size() != inputs_.size()) {
        std::vector<std::string> given;
        for (const auto& [own, view] : inputs) given.push_back(own);
        throw wrong_inputs(label_, joined(inputs_), joined(given));
      }
      owned.push_back(borrow(found->second));
      values.push_back(owned.back().get());
      input_names.push_back(name.c_str());
    }
    for (const std::string& name : outputs_) output_names.push_back(name.c_str());
    std::vector<OrtValue*> results(outputs_.size(), nullptr);
    library_.check(
        library_.api->Run(session_.get(), nullptr, input_names.data(), values.data(), values.size(),
                          output_names.data(), output_names.size(), results.data()),
        running());
    for (OrtValue* result : results) owned.emplace_back(result, library_.api->ReleaseValue);
    Tensors outputs;
    for (std::size_t i = 0; i < results.size(); ++i) outputs[outputs_[i]] = copy(results[i]);
    return outputs;
  }

 private:
  std::string running() const { return "ONNX Runtime cannot run the graph '" + label_ + "'"; }

  void append_cuda(OrtSessionOptions* options) const {
    const OrtApi& api = *library_.api;
    OrtCUDAProviderOptionsV2* cuda = nullptr;
    std::string text = library_.text_of(api.CreateCUDAProviderOptions(&cuda));
    const Owned<OrtCUDAProviderOptionsV2> own(cuda, api.ReleaseCUDAProviderOptions);
    if (text.empty()) {
      text = library_.text_of(api.SessionOptionsAppendExecutionProvider_CUDA_V2(options, cuda));
    }
    if (!text.empty()) throw did_not_start("cuda", text);
  }

  template <class Count, class Name>
  std::vector<std::string> port_names(Count count_of, Name name_of) const {
    const std::string what = "ONNX Runtime cannot describe the graph '" + label_ + "'";
    OrtAllocator* allocator = nullptr;
    library_.check(library_.api->GetAllocatorWithDefaultOptions(&allocator), what);
    std::size_t count = 0;
    library_.check(count_of(session_.get(), &count), what);
    std::vector<std::string> names;
    for (std::size_t i = 0; i < count; ++i) {
      char* name = nullptr;
      library_.check(name_of(session_.get(), i, allocator, &name), what);
      names.emplace_back(name);
      library_.check(library_.api->AllocatorFree(allocator, name), what);
    }
    return names;
  }

  Owned<OrtValue> borrow(const TensorView& view) const {
    OrtValue* value = nullptr;
    // The engine only reads its inputs.
    library_.check(library_.api->CreateTensorWithDataAsOrtValue(
                       library_.memory, const_cast<void*>(view.data), view.size_bytes(),
                       view.shape.data(), view.shape.size(), element_type(view.dtype), &value),
                   running());
    return {value, library_.api->ReleaseValue};
  }

  Tensor copy(OrtValue* value) const {
    const OrtApi& api = *library_.api;
    OrtTensorTypeAndShapeInfo* made = nullptr;
    library_.check(api.GetTensorTypeAndShape(value, &made), running());
    const Owned<OrtTensorTypeAndShapeInfo> info(made, api.ReleaseTensorTypeAndShapeInfo);
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    std::size_t rank = 0;
    library_.check(api.GetTensorElementType(made, &type), running());
    library_.check(api.GetDimensionsCount(made, &rank), running());
    Shape shape(rank);
    library_.check(api.GetDimensions(made, shape.data(), rank), running());
    Tensor copied(dtype_of(type), shape);
    void* data = nullptr;
    library_.check(api.GetTensorMutableData(value, &data), running());
    std::memcpy(copied.bytes.data(), data, copied.bytes.size());
    return copied;
  }

  std::string label_;
  const Library& library_;
  Owned<OrtSession> session_;
  std::vector<std::string> inputs_, outputs_;
};

}  // namespace

void require_onnxruntime(const std::string& provider, const std::string& path) {
  const Library& library = Library::of(path);
  const std::string full = provider == "cuda" ? "CUDAExecutionProvider" : "CPUExecutionProvider";
  if (library.has(full)) return;
  throw Error(Status::kResource, "provider '" + provider + "' is not in this ONNX Runtime",
              joined(library.providers), full,
              "name a library with it (for cuda that of onnxruntime-gpu), or use the provider auto");
}

std::unique_ptr<Engine> open_onnxruntime(const Graph& graph, const std::string& provider,
                                         const EngineOptions& options) {
  // With this variable set a model may set session options, such as writing profiles.
  if (std::getenv("ORT_LOAD_CONFIG_FROM_MODEL") != nullptr) {
    throw Error(Status::kUnsafe, "ORT_LOAD_CONFIG_FROM_MODEL lets graphs set options of sessions",
                "", "", "unset that environment variable");
  }
  return std::make_unique<OnnxRuntimeEngine>(graph, provider, options);
}

}  // namespace refinestyle
