#include <cstring>

#include "kernels.h"

namespace refinestyle::native {

#if defined(__x86_64__)
namespace avx512 {
extern const Kernels table;
}
namespace avx2 {
extern const Kernels table;
}
#endif
namespace baseline {
extern const Kernels table;
}

const Kernels* kernels(const char* name) {
  const auto wanted = [&](const Kernels& one) {
    return name == nullptr || std::strcmp(name, one.name) == 0;
  };
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (has_avx512 && wanted(avx512::table)) return &avx512::table;
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_avx2 && wanted(avx2::table)) return &avx2::table;
#endif
  return wanted(baseline::table) ? &baseline::table : nullptr;
}

}  // namespace refinestyle::native
