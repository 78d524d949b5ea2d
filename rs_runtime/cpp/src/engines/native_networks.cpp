#include "engines/native_networks.h"

#include <exception>
#include <system_error>
#include <thread>
#if defined(__linux__)
#include <sched.h>
#endif

#include "engines/failure.h"
#include "native/protobuf.h"

namespace refinestyle {

int usable_cpus() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

void throw_not_opened(const std::string& label) {
  const std::string what = "the native engine cannot open the graph '" + label + "'";
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const native::BadGraph& bad) {
    throw Error(Status::kIncompatible, what + ": " + bad.what, bad.found, bad.expected,
                kNativeHint);
  } catch (const std::system_error& error) {
    throw Error(Status::kResource, what, error.what(), "", "use fewer threads");
  } catch (const std::exception& error) {
    throw engine_failed(what, error.what(), kNativeHint);
  }
}

void throw_not_run(const std::string& label) {
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw engine_failed("the native engine cannot run the graph '" + label + "'", error.what(),
                        kNativeHint);
  }
}

}  // namespace refinestyle
