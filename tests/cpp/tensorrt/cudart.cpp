// A CUDA runtime that is none: host memory as the device's. For the logic
// around it only.
#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace {
std::atomic<int> allocations{0}, buffers{0}, streams{0};
}

extern "C" {

int stand_in_allocations() { return allocations; }
int stand_in_buffers() { return buffers; }
int stand_in_streams() { return streams; }

const char* CUDARTAPI cudaGetErrorName(cudaError_t) { return "cudaErrorOfTheStandIn"; }

cudaError_t CUDARTAPI cudaGetDevice(int* device) {
  *device = 0;
  return std::getenv("STAND_IN_NO_DEVICE") ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t CUDARTAPI cudaSetDevice(int) { return cudaSuccess; }

cudaError_t CUDARTAPI cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::strcpy(properties->name, "Imaginary 9000");
  properties->major = 9;
  properties->minor = 0;
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaDriverGetVersion(int* version) {
  *version = 13020;
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaMalloc(void** address, size_t size) {
  if (std::getenv("STAND_IN_NO_MEMORY")) return cudaErrorMemoryAllocation;
  *address = std::malloc(size);
  ++allocations;
  ++buffers;
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaFree(void* address) {
  std::free(address);
  --buffers;
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaMemcpyAsync(void* target, const void* source, size_t size, cudaMemcpyKind,
                                      cudaStream_t) {
  std::memcpy(target, source, size);
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamCreate(cudaStream_t* stream) {
  *stream = reinterpret_cast<cudaStream_t>(static_cast<std::size_t>(++streams));
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

cudaError_t CUDARTAPI cudaStreamDestroy(cudaStream_t) {
  --streams;
  return cudaSuccess;
}
}
