// How calls end.
#pragma once

#include "contracts/error.h"

// The status that a call ends with.
template <class Work>
refinestyle::Status outcome_of(const Work& work) {
  try {
    work();
  } catch (const refinestyle::Error& error) {
    return error.status;
  }
  return refinestyle::Status::kOk;
}
