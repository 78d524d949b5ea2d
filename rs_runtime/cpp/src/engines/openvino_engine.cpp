// OpenVINO: graphs from bytes, the precision always said.
//
// Observed of OpenVINO 2026.4 and answered here: without a precision hint it computes in whatever
// is fast on the machine (bf16 or fp16); with a hint that the CPU cannot follow it computes in
// another precision and says nothing; one infer request serves one run at a time.
#include "engines/openvino_engine.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <openvino/openvino.hpp>

#include "engines/failure.h"

namespace refinestyle {
namespace {

constexpr const char* kDevice = "CPU";
constexpr const char* kHint =
    "use another provider, export the bundle again with rs-export, or update OpenVINO";

ov::Core& core() {
  static ov::Core shared;
  return shared;
}

bool has_bf16() {
  const auto capabilities = core().get_property(kDevice, ov::device::capabilities);
  return std::find(capabilities.begin(), capabilities.end(), "BF16") != capabilities.end();
}

ov::element::Type element_type(DType dtype) {
  switch (dtype) {
    case DType::kUint8: return ov::element::u8;
    case DType::kInt64: return ov::element::i64;
    case DType::kFloat16: return ov::element::f16;
    case DType::kFloat32: return ov::element::f32;
  }
  return ov::element::dynamic;
}

DType dtype_of(const ov::element::Type& type, const std::string& name) {
  for (DType dtype : {DType::kUint8, DType::kInt64, DType::kFloat16, DType::kFloat32}) {
    if (element_type(dtype) == type) return dtype;
  }
  throw Error(Status::kIncompatible, "the graph's " + name + " is of a type that is not supported",
              type.get_type_name(), "uint8, int64, float16 or float32");
}

ov::Tensor borrow(const TensorView& view) {
  const ov::Shape shape(view.shape.begin(), view.shape.end());
  // The engine only reads its inputs.
  return ov::Tensor(element_type(view.dtype), shape, const_cast<void*>(view.data));
}

Tensor copy(const ov::Tensor& own, const std::string& name) {
  const ov::Shape& sides = own.get_shape();
  Tensor copied(dtype_of(own.get_element_type(), name), Shape(sides.begin(), sides.end()));
  std::memcpy(copied.bytes.data(), own.data(), copied.bytes.size());
  return copied;
}

template <class Ports>
std::string names(const Ports& ports) {
  std::string list;
  for (const auto& [name, port] : ports) list += (list.empty() ? "" : ", ") + name;
  return list;
}

class OpenVinoEngine final : public Engine {
 public:
  OpenVinoEngine(const Graph& graph, const EngineOptions& options) : label_(graph.label) {
    const ov::element::Type precision =
        graph.precision == "bf16" ? ov::element::bf16 : ov::element::f32;
    ov::AnyMap config{ov::hint::inference_precision(precision),
                      ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                      ov::num_streams(1)};
    if (options.threads > 0) config.insert(ov::inference_num_threads(options.threads));
    auto model = core().read_model(std::string(graph.bytes.begin(), graph.bytes.end()), ov::Tensor());
    std::map<std::string, ov::PartialShape> shapes;
    for (const auto& [name, shape] : graph.shapes) {
      shapes[name] = ov::PartialShape(std::vector<ov::Dimension>(shape.begin(), shape.end()));
    }
    model->reshape(shapes);
    compiled_ = core().compile_model(model, kDevice, config);
    const auto used = compiled_.get_property(ov::hint::inference_precision);
    if (used != precision) {
      throw Error(Status::kResource,
                  "OpenVINO computes the graph '" + label_ + "' in another precision",
                  used.get_type_name(), precision.get_type_name());
    }
    for (const auto& port : compiled_.inputs()) inputs_.emplace(port.get_any_name(), port);
    for (const auto& port : compiled_.outputs()) outputs_.emplace(port.get_any_name(), port);
  }

  Tensors run(const Views& inputs) override {
    check(inputs);
    try {
      ov::InferRequest request = take_request();
      for (const auto& [name, view] : inputs) request.set_tensor(inputs_.at(name), borrow(view));
      request.infer();
      Tensors outputs;
      for (const auto& [name, port] : outputs_) {
        outputs.emplace(name, copy(request.get_tensor(port), name));
      }
      const std::lock_guard<std::mutex> lock(mutex_);
      idle_.push_back(std::move(request));
      return outputs;
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      throw engine_failed("OpenVINO cannot run the graph '" + label_ + "'", error.what(), kHint);
    }
  }

 private:
  ov::InferRequest take_request() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.empty()) return compiled_.create_infer_request();
    ov::InferRequest request = std::move(idle_.back());
    idle_.pop_back();
    return request;
  }

  void check(const Views& inputs) const {
    bool same = inputs.size() == inputs_.size();
    for (const auto& [name, view] : inputs) same = same && inputs_.count(name);
    if (!same) throw wrong_inputs(label_, names(inputs_), names(inputs));
    for (const auto& [name, view] : inputs) {
      const auto& port = inputs_.at(name);
      const ov::PartialShape shape(std::vector<ov::Dimension>(view.shape.begin(), view.shape.end()));
      if (port.get_element_type() == element_type(view.dtype) &&
          port.get_partial_shape().compatible(shape)) {
        continue;
      }
      throw Error(Status::kIncompatible,
                  "OpenVINO cannot run the graph '" + label_ + "': input " + name,
                  std::string(dtype_name(view.dtype)) + " " + to_text(view.shape),
                  port.get_element_type().get_type_name() + " " +
                      port.get_partial_shape().to_string());
    }
  }

  std::string label_;
  ov::CompiledModel compiled_;
  std::map<std::string, ov::Output<const ov::Node>> inputs_;
  std::map<std::string, ov::Output<const ov::Node>> outputs_;
  std::mutex mutex_;
  std::vector<ov::InferRequest> idle_;
};

}  // namespace

void require_openvino(const std::string& provider) {
  try {
    if (provider == "openvino" || has_bf16()) return;
  } catch (const std::exception& error) {
    throw Error(Status::kResource, "OpenVINO has no CPU device here", one_line(error.what()));
  }
  throw Error(Status::kResource,
              "provider '" + provider + "' needs a CPU with bf16 instructions (AVX-512 BF16 or AMX)",
              "a CPU without", "", "use the provider openvino");
}

std::unique_ptr<Engine> open_openvino(const Graph& graph, const EngineOptions& options) {
  try {
    return std::make_unique<OpenVinoEngine>(graph, options);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw engine_failed("OpenVINO cannot open the graph '" + graph.label + "'", error.what(), kHint);
  }
}

}  // namespace refinestyle
