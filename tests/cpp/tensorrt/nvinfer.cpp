// A TensorRT of one engine, y = 2 x, on NVIDIA's genuine headers; its device is
// cudart.cpp. For the logic around it only: it says nothing about TensorRT.
// What it does not need aborts (filled.h, which the test writes from the
// headers).
#include <NvInferRuntime.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <thread>

#include "filled.h"

using namespace nvinfer1;

namespace {

std::atomic<int> contexts{0}, deserialized{0}, plugins{0};
const std::string kPlan = "a plan";

struct Context final : IExecutionContext, apiv::FilledVExecutionContext {
  Context() { mImpl = this; }

  IExecutionContext* getPImpl() noexcept override { return this; }
  bool setInputShape(char const*, Dims const& shape) noexcept override {
    shape_ = shape;
    return true;
  }
  Dims getTensorShape(char const*) const noexcept override { return shape_; }
  bool setTensorAddress(char const* name, void* address) noexcept override {
    addresses_[name] = static_cast<float*>(address);
    return true;
  }
  bool enqueueV3(cudaStream_t) noexcept override {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // so that runs overlap
    for (std::int64_t i = 0; i < shape_.d[0] * shape_.d[1]; ++i) {
      addresses_["y"][i] = 2 * addresses_["x"][i];
    }
    return true;
  }

  Dims shape_{};
  std::map<std::string, float*> addresses_;
};

struct CudaEngine final : ICudaEngine, apiv::FilledVCudaEngine {
  CudaEngine() { mImpl = this; }

  ICudaEngine* getPImpl() noexcept override { return this; }
  // Out of order, so that names and not places bind.
  std::int32_t getNbIOTensors() const noexcept override { return 2; }
  char const* getIOTensorName(std::int32_t index) const noexcept override {
    return index == 0 ? "y" : "x";
  }
  TensorIOMode getTensorIOMode(char const* name) const noexcept override {
    return *name == 'x' ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
  }
  DataType getTensorDataType(char const*) const noexcept override { return DataType::kFLOAT; }
  Dims getProfileShape(char const* name, std::int32_t profile,
                       OptProfileSelector which) const noexcept override {
    if (*name != 'x' || profile != 0) return {-1, {}};
    return {2, {which == OptProfileSelector::kMAX ? 4 : 1, 2}};
  }
  IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy) noexcept override {
    ++contexts;
    return new Context;
  }
};

struct Registry final : FilledIPluginRegistry {
  PluginLibraryHandle loadLibrary(AsciiChar const*) noexcept override {
    ++plugins;
    return this;
  }
};

struct Runtime final : IRuntime, apiv::FilledVRuntime {
  explicit Runtime(ILogger* log) : log_(log) { mImpl = this; }

  IRuntime* getPImpl() noexcept override { return this; }
  nvinfer1::ICudaEngine* deserializeCudaEngine(void const* blob,
                                               std::size_t size) noexcept override {
    ++deserialized;
    if (std::string(static_cast<char const*>(blob), size) == kPlan) return new CudaEngine;
    log_->log(ILogger::Severity::kERROR, "magicTag does not match");
    return nullptr;
  }
  IPluginRegistry& getPluginRegistry() noexcept override { return registry_; }

  ILogger* log_;
  Registry registry_;
};

}  // namespace

extern "C" {

int stand_in_contexts() { return contexts; }
int stand_in_deserialized() { return deserialized; }
int stand_in_plugins() { return plugins; }

void* createInferRuntime_INTERNAL(void* log, std::int32_t version) noexcept {
  if (version != NV_TENSORRT_VERSION) return nullptr;
  return static_cast<IRuntime*>(new Runtime(static_cast<ILogger*>(log)));
}

std::int32_t getInferLibMajorVersion() noexcept { return NV_TENSORRT_MAJOR; }
std::int32_t getInferLibMinorVersion() noexcept { return 0; }
std::int32_t getInferLibPatchVersion() noexcept { return 0; }
std::int32_t getInferLibBuildVersion() noexcept { return 7; }
}
