#include "pool.h"

namespace refinestyle::native {
namespace {

// About 50 microseconds: phases of a run follow each other at once, and waking a thread takes as
// long. Between runs threads sleep.
constexpr int kSpins = 2000;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

Pool::Pool(int threads) {
  try {
    for (int thread = 1; thread < threads; ++thread) {
      workers_.emplace_back([this, thread] { serve(thread); });
    }
  } catch (...) {
    end();
    throw;
  }
}

Pool::~Pool() { end(); }

void Pool::end() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
    ++job_;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::each(int count, const std::function<void(int, int)>& work) {
  if (workers_.empty() || count == 1) {
    for (int i = 0; i < count; ++i) work(i, 0);
    return;
  }
  work_ = &work;
  count_ = count;
  next_ = 0;
  busy_ = static_cast<int>(workers_.size());
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++job_;
  }
  wake_.notify_all();
  take(0);
  for (int spins = 0; busy_ != 0; ++spins) {
    if (spins < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void Pool::take(int thread) {
  for (int i = next_++; i < count_; i = next_++) (*work_)(i, thread);
}

void Pool::serve(int thread) {
  unsigned done = 0;
  while (true) {
    for (int spins = 0; spins < kSpins && job_ == done; ++spins) pause();
    if (job_ == done) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return job_ != done; });
    }
    ++done;
    if (ending_) return;
    take(thread);
    --busy_;
  }
}

}  // namespace refinestyle::native
