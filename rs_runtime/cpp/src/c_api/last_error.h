// The calling thread's last failure, and the border that no exception crosses.
#pragma once

#include <exception>
#include <new>

#include "contracts/error.h"
#include "refinestyle/refinestyle.h"

namespace refinestyle {

const char* last_error() noexcept;

// Keeps the text of a failure and gives its status.
refinestyle_status failed(Status status, const char* text) noexcept;

// Runs what may throw, and turns what it throws into a status.
template <class Work>
refinestyle_status guarded(const Work& work) noexcept {
  try {
    work();
    return REFINESTYLE_OK;
  } catch (const Error& error) {
    return failed(error.status, error.what());
  } catch (const std::bad_alloc&) {
    return failed(Status::kResource, "out of memory");
  } catch (const std::exception& error) {
    return failed(Status::kInternal, error.what());
  } catch (...) {
    return failed(Status::kInternal, "an unknown failure");
  }
}

}  // namespace refinestyle
