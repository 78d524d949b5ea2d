#include "refinestyle_native.h"

#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <utility>

#include "constants.h"
#include "kernels.h"
#include "layers.h"
#include "synthesis.h"

using refinestyle::native::BadGraph;
using refinestyle::native::Synthesis;

struct rs_native {
  Synthesis synthesis;
};

rs_native *rs_native_open(const uint8_t *bytes, size_t size, int32_t threads,
                          const char *instructions, char *error, size_t error_size) {
  try {
    const auto *kernels = refinestyle::native::kernels(instructions);
    if (kernels == nullptr) throw BadGraph{"this machine lacks the instructions", instructions, ""};
    auto constants = refinestyle::native::read_constants(bytes, size);
    auto layers = refinestyle::native::build_layers(std::move(constants), kernels->panel);
    auto shared = std::make_shared<const refinestyle::native::Layers>(std::move(layers));
    return new rs_native{{std::move(shared), *kernels, threads}};
  } catch (const BadGraph &bad) {
    std::snprintf(error, error_size, "%s|%s|%s", bad.what.c_str(), bad.found.c_str(),
                  bad.expected.c_str());
  } catch (const std::bad_alloc &) {
    std::snprintf(error, error_size, "memory");
  } catch (const std::exception &failure) {
    std::snprintf(error, error_size, "the graph cannot be opened|%s|", failure.what());
  }
  return nullptr;
}

void rs_native_close(rs_native *network) { delete network; }

rs_native_shape rs_native_describe(const rs_native *network) {
  const auto &layers = network->synthesis.layers();
  return {layers.size,    layers.num_ws, layers.w_dim,
          layers.sum_out, layers.sum_in, layers.style_channels};
}

int32_t rs_native_run(rs_native *network, const float *w_plus, const float *P, const float *Q,
                      const float *style_offset, const float *modulation, int32_t rank,
                      float *image_float, uint8_t *image, const int32_t *stop) {
  try {
    const bool finished = network->synthesis.run(
        {w_plus, P, Q, style_offset, modulation, rank}, image_float, image, stop);
    return finished ? RS_NATIVE_OK : RS_NATIVE_STOPPED;
  } catch (const std::exception &) {
    return RS_NATIVE_MEMORY;
  }
}

const char *rs_native_instructions(void) { return refinestyle::native::kernels()->name; }
