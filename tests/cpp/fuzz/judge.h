// A fuzz target reads bytes; a refusal is a right answer, anything else that is thrown is not.
#pragma once

#include <cstddef>
#include <cstdint>

#include "contracts/error.h"

template <typename Read>
int judge(const Read& read) {
  try {
    read();
  } catch (const refinestyle::Error& error) {
    if (error.status == refinestyle::Status::kOk) __builtin_trap();
  }
  return 0;
}
