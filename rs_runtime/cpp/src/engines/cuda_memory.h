// Device memory and streams of the CUDA runtime, whose library is loaded when it is first needed.
#pragma once

#include <cstddef>
#include <string>

namespace refinestyle {

// What the current device is.
struct DeviceName {
  std::string gpu;
  std::string compute_capability;  // "9.0"
};

// Throws kResource: no library, no device, no driver.
DeviceName device_name();

// Newest CUDA version that the driver serves, as "13.0". Throws kResource.
std::string driver_version();

// Index of the calling thread's current device. Throws kResource.
int current_device();

// Makes a device the calling thread's current one, and the former one again at the end.
class OnDevice {
 public:
  explicit OnDevice(int device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int former_;
};

// Memory of the device that was current.
class DeviceBuffer {
 public:
  // Throws kResource when it is used up.
  explicit DeviceBuffer(std::size_t size);
  ~DeviceBuffer();
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  void* address() const { return address_; }
  std::size_t size() const { return size_; }  // bytes, at least one

 private:
  void* address_ = nullptr;
  std::size_t size_;
};

// A stream of work on the device that was current.
class DeviceStream {
 public:
  DeviceStream();
  ~DeviceStream();
  DeviceStream(const DeviceStream&) = delete;
  DeviceStream& operator=(const DeviceStream&) = delete;

  // The host's memory has to live until wait() is back; what was downloaded is there only then.
  void upload(const void* host, const DeviceBuffer& buffer, std::size_t size) const;
  void download(const DeviceBuffer& buffer, void* host, std::size_t size) const;

  // Waits until all is done. Throws kResource if something of it failed on the device.
  void wait() const;

  // The same, for the end of a run that failed already.
  void settle() const noexcept;

  void* handle() const { return handle_; }  // a cudaStream_t

 private:
  void* handle_ = nullptr;
};

}  // namespace refinestyle
