// Threads that share the work of one run.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace refinestyle::native {

class Pool {
 public:
  // threads: the calling one included, at least 1. Throws std::system_error, std::bad_alloc.
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(i, thread) for i in [0, count), each once, in no order; returns when all are done.
  // One caller at a time; work must not throw.
  void each(int count, const std::function<void(int i, int thread)>& work);

 private:
  void end();
  void serve(int thread);
  void take(int thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<unsigned> job_{0};  // counts up; workers do each once
  std::atomic<int> next_{0}, busy_{0};
  std::atomic<bool> ending_{false};
  const std::function<void(int, int)>* work_ = nullptr;
  int count_ = 0;
};

}  // namespace refinestyle::native
