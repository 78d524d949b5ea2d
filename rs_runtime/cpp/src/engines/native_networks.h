// What the engines that are our own share: networks for several threads, and how failures end.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engines/engine.h"
#include "native/kernels.h"

namespace refinestyle {

inline constexpr const char* kNativeHint =
    "use the provider auto, or export the bundle again with rs-export";

// CPUs that this process may use.
int usable_cpus();

// The error of a native engine that could not be opened: to be called where an exception has been
// caught, whose error it throws.
[[noreturn]] void throw_not_opened(const std::string& label);

// The same of a run.
[[noreturn]] void throw_not_run(const std::string& label);

// Networks that share their layers, each for one thread at a time: as many as there are CPUs for
// the threads of each, made when they are needed.
template <class Network, class Layers>
class Networks {
 public:
  Networks(std::shared_ptr<const Layers> layers, const native::Kernels& kernels,
           const EngineOptions& options)
      : layers_(std::move(layers)), kernels_(kernels) {
    const int cpus = usable_cpus();
    threads_ = options.threads > 0 ? options.threads : cpus;
    most_ = static_cast<std::size_t>(std::max(1, cpus / threads_));
    // So that what is to fail for want of memory fails here.
    networks_.push_back(std::make_unique<Network>(layers_, kernels_, threads_));
    idle_.push_back(networks_.back().get());
  }

  const Layers& layers() const { return *layers_; }

  // A network that no other thread uses.
  class Borrowed {
   public:
    explicit Borrowed(Networks& all) : all_(all), network_(all.take()) {}
    ~Borrowed() { all_.give_back(network_); }
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;

    Network* operator->() const { return network_; }

   private:
    Networks& all_;
    Network* network_;
  };

 private:
  Network* take() {
    std::unique_lock<std::mutex> lock(mutex_);
    if (idle_.empty() && networks_.size() < most_) {
      try {
        networks_.reserve(most_);
        idle_.reserve(most_);
        networks_.push_back(std::make_unique<Network>(layers_, kernels_, threads_));
        return networks_.back().get();
      } catch (const std::exception&) {
        most_ = networks_.size();  // there is no memory for another: wait
      }
    }
    given_back_.wait(lock, [this] { return !idle_.empty(); });
    Network* network = idle_.back();
    idle_.pop_back();
    return network;
  }

  void give_back(Network* network) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      idle_.push_back(network);  // there is room
    }
    given_back_.notify_one();
  }

  std::shared_ptr<const Layers> layers_;
  const native::Kernels& kernels_;
  int threads_ = 0;
  std::size_t most_ = 1;  // networks: no more threads than there are CPUs
  std::mutex mutex_;
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<Network>> networks_;
  std::vector<Network*> idle_;
};

}  // namespace refinestyle
