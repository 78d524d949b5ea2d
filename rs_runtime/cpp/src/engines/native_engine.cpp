#include "engines/native_engine.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>
#if defined(__linux__)
#include <sched.h>
#endif

#include "engines/failure.h"
#include "native/synthesis.h"

namespace refinestyle {
namespace {

// What is compiled for every machine computes four numbers at once; other engines do better.
constexpr const char* kSlowInstructions = "baseline";
constexpr const char* kHint = "use the provider auto, or export the bundle again with rs-export";

int usable_cpus() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

struct Port {
  const char* name;
  Shape shape;  // -1: the rank, known only at run time
};

class NativeEngine final : public Engine {
 public:
  NativeEngine(const Graph& graph, const EngineOptions& options)
      : label_(graph.label), kernels_(*native::kernels()) {
    const int cpus = usable_cpus();
    threads_ = options.threads > 0 ? options.threads : cpus;
    most_ = static_cast<std::size_t>(std::max(1, cpus / threads_));
    const auto constants = native::read_constants(graph.bytes.data(), graph.bytes.size());
    layers_ = std::make_shared<const native::Layers>(
        native::build_layers(constants, kernels_.panel));
    size_ = layers_->size;
    ports_ = {Port{"w_plus", {1, layers_->num_ws, layers_->w_dim}},
              Port{"P", {1, -1, layers_->sum_out}}, Port{"Q", {1, -1, layers_->sum_in}},
              Port{"style_offset", {1, layers_->style_channels}},
              Port{"modulation", {1, layers_->sum_in}}};
    // So that what is to fail for want of memory fails here.
    networks_.push_back(std::make_unique<native::Synthesis>(layers_, kernels_, threads_));
    idle_.push_back(networks_.back().get());
  }

  Tensors run(const Views& inputs) override {
    check(inputs);
    const auto floats = [&](const char* name) {
      return static_cast<const float*>(inputs.at(name).data);
    };
    try {
      Tensor image(DType::kUint8, {1, size_, size_, 3});
      Tensor image_float(DType::kFloat32, {1, 3, size_, size_});
      Tensor finite(DType::kUint8, {1});
      const Borrowed network(*this);
      network->run({floats("w_plus"), floats("P"), floats("Q"), floats("style_offset"),
                    floats("modulation"), static_cast<int>(inputs.at("P").shape[1])},
                   {image_float.data<float>(), image.data<std::uint8_t>(),
                    finite.data<std::uint8_t>()});
      Tensors outputs;
      outputs.emplace(kFinite, std::move(finite));
      outputs.emplace("image", std::move(image));
      outputs.emplace("image_float", std::move(image_float));
      return outputs;
    } catch (const std::exception& error) {
      throw engine_failed("the native engine cannot run the graph '" + label_ + "'", error.what(),
                          kHint);
    }
  }

 private:
  // A network that no other thread uses.
  class Borrowed {
   public:
    explicit Borrowed(NativeEngine& engine) : engine_(engine), network_(engine.take()) {}
    ~Borrowed() { engine_.give_back(network_); }
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;

    native::Synthesis* operator->() const { return network_; }

   private:
    NativeEngine& engine_;
    native::Synthesis* network_;
  };

  native::Synthesis* take() {
    std::unique_lock<std::mutex> lock(mutex_);
    if (idle_.empty() && networks_.size() < most_) {
      try {
        networks_.reserve(most_);
        idle_.reserve(most_);
        networks_.push_back(std::make_unique<native::Synthesis>(layers_, kernels_, threads_));
        return networks_.back().get();
      } catch (const std::exception&) {
        most_ = networks_.size();  // there is no memory for another: wait
      }
    }
    given_back_.wait(lock, [this] { return !idle_.empty(); });
    native::Synthesis* network = idle_.back();
    idle_.pop_back();
    return network;
  }

  void give_back(native::Synthesis* network) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      idle_.push_back(network);  // there is room
    }
    given_back_.notify_one();
  }

  void check(const Views& inputs) const {
    std::string own, given;
    bool same = inputs.size() == ports_.size();
    for (const Port& port : ports_) {
      same = same && inputs.count(port.name) != 0;
      own += (own.empty() ? "" : ", ") + std::string(port.name);
    }
    for (const auto& [name, view] : inputs) given += (given.empty() ? "" : ", ") + name;
    if (!same) throw wrong_inputs(label_, own, given);
    const Shape& P = inputs.at("P").shape;
    const std::int64_t rank = P.size() > 1 && P[1] > 0 && P[1] <= kMaxRank ? P[1] : 1;
    for (const Port& port : ports_) {
      const TensorView& view = inputs.at(port.name);
      Shape expected = port.shape;
      std::replace(expected.begin(), expected.end(), std::int64_t{-1}, rank);
      if (view.dtype == DType::kFloat32 && view.shape == expected) continue;
      throw Error(Status::kIncompatible,
                  "the native engine cannot run the graph '" + label_ + "': input " + port.name,
                  std::string(dtype_name(view.dtype)) + " " + to_text(view.shape),
                  "float32 " + to_text(expected));
    }
  }

  static constexpr std::int64_t kMaxRank = 1 << 30;

  std::string label_;
  const native::Kernels& kernels_;
  std::shared_ptr<const native::Layers> layers_;
  std::int64_t size_ = 0;
  std::array<Port, 5> ports_;
  int threads_ = 0;
  std::size_t most_ = 1;  // networks: no more threads than there are CPUs
  std::mutex mutex_;
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<native::Synthesis>> networks_;
  std::vector<native::Synthesis*> idle_;
};

}  // namespace

bool native_is_fast() { return std::strcmp(native::kernels()->name, kSlowInstructions) != 0; }

std::unique_ptr<Engine> open_native(const Graph& graph, const EngineOptions& options) {
  const std::string what = "the native engine cannot open the graph '" + graph.label + "'";
  try {
    return std::make_unique<NativeEngine>(graph, options);
  } catch (const native::BadGraph& bad) {
    throw Error(Status::kIncompatible, what + ": " + bad.what, bad.found, bad.expected, kHint);
  } catch (const std::system_error& error) {
    throw Error(Status::kResource, what, error.what(), "", "use fewer threads");
  } catch (const std::exception& error) {
    throw engine_failed(what, error.what(), kHint);
  }
}

}  // namespace refinestyle
