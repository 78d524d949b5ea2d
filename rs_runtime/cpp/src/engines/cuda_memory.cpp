#include "engines/cuda_memory.h"

#include <cuda_runtime_api.h>

#include <algorithm>

#include "contracts/error.h"
#include "engines/shared_library.h"

namespace refinestyle {
namespace {

#define REFINESTYLE_TEXT_OF(name) #name
// A name as text after macros: CUDA 12 gives some functions another symbol that way.
#define REFINESTYLE_TEXT(name) REFINESTYLE_TEXT_OF(name)

constexpr const char* kCheck = "check the driver (nvidia-smi), or use the provider auto";

InstalledLibrary library() {
  const int major = CUDART_VERSION / 1000;
#ifdef _WIN32
  return {"CUDA's runtime", major, "cudart64_" + std::to_string(major) + ".dll"};
#else
  return {"CUDA's runtime", major, "libcudart.so." + std::to_string(major)};
#endif
}

// The functions in use, with the signatures of the headers.
struct Cuda {
#define REFINESTYLE_FUNCTION(field, name) \
  decltype(&name) field = load_function<decltype(&name)>(library(), REFINESTYLE_TEXT(name))
  REFINESTYLE_FUNCTION(error_name, cudaGetErrorName);
  REFINESTYLE_FUNCTION(get_device, cudaGetDevice);
  REFINESTYLE_FUNCTION(set_device, cudaSetDevice);
  REFINESTYLE_FUNCTION(properties, cudaGetDeviceProperties);
  REFINESTYLE_FUNCTION(driver_version, cudaDriverGetVersion);
  REFINESTYLE_FUNCTION(allocate, cudaMalloc);
  REFINESTYLE_FUNCTION(free, cudaFree);
  REFINESTYLE_FUNCTION(copy, cudaMemcpyAsync);
  REFINESTYLE_FUNCTION(create_stream, cudaStreamCreate);
  REFINESTYLE_FUNCTION(synchronize, cudaStreamSynchronize);
  REFINESTYLE_FUNCTION(destroy_stream, cudaStreamDestroy);
#undef REFINESTYLE_FUNCTION
};

const Cuda& cuda() {
  static const Cuda functions;
  return functions;
}

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  const std::string name = cuda().error_name(status);
  if (status == cudaErrorMemoryAllocation) {
    throw Error(Status::kResource, "not enough memory on the GPU", name, "",
                "use a smaller batch or fewer domains at once, or stop what else runs there");
  }
  if (status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver) {
    throw Error(Status::kResource,
                "CUDA: there is no NVIDIA GPU, or its driver is missing or too old", name, "",
                kCheck);
  }
  throw Error(Status::kResource, std::string("CUDA: ") + what + " failed", name, "", kCheck);
}

cudaStream_t stream_of(void* handle) { return static_cast<cudaStream_t>(handle); }

}  // namespace

DeviceName device_name() {
  cudaDeviceProp properties{};
  check(cuda().properties(&properties, current_device()), "cudaGetDeviceProperties");
  return {properties.name,
          std::to_string(properties.major) + "." + std::to_string(properties.minor)};
}

std::string driver_version() {
  int version = 0;
  check(cuda().driver_version(&version), "cudaDriverGetVersion");
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

int current_device() {
  int device = 0;
  check(cuda().get_device(&device), "cudaGetDevice");
  return device;
}

OnDevice::OnDevice(int device) : former_(current_device()) {
  check(cuda().set_device(device), "cudaSetDevice");
}

OnDevice::~OnDevice() { cuda().set_device(former_); }

DeviceBuffer::DeviceBuffer(std::size_t size) : size_(std::max<std::size_t>(size, 1)) {
  check(cuda().allocate(&address_, size_), "cudaMalloc");
}

DeviceBuffer::~DeviceBuffer() { cuda().free(address_); }

DeviceStream::DeviceStream() {
  cudaStream_t made = nullptr;
  check(cuda().create_stream(&made), "cudaStreamCreate");
  handle_ = made;
}

DeviceStream::~DeviceStream() { cuda().destroy_stream(stream_of(handle_)); }

void DeviceStream::upload(const void* host, const DeviceBuffer& buffer, std::size_t size) const {
  check(cuda().copy(buffer.address(), host, size, cudaMemcpyHostToDevice, stream_of(handle_)),
        "cudaMemcpyAsync");
}

void DeviceStream::download(const DeviceBuffer& buffer, void* host, std::size_t size) const {
  check(cuda().copy(host, buffer.address(), size, cudaMemcpyDeviceToHost, stream_of(handle_)),
        "cudaMemcpyAsync");
}

void DeviceStream::wait() const {
  check(cuda().synchronize(stream_of(handle_)), "cudaStreamSynchronize");
}

void DeviceStream::settle() const noexcept { cuda().synchronize(stream_of(handle_)); }

}  // namespace refinestyle
