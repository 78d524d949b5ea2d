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
#include "trunk.h"

using refinestyle::native::BadGraph;
using refinestyle::native::Constants;
using refinestyle::native::Kernels;
using refinestyle::native::Layers;
using refinestyle::native::Synthesis;
using refinestyle::native::Trunk;
using refinestyle::native::TrunkLayers;

struct rs_native {
  Synthesis synthesis;
};

struct rs_native_trunk {
  Trunk trunk;
};

namespace {

// What `make` gives of the inner loops and the graph's constants; null with the error's text.
template <class Make>
auto opened(const uint8_t *bytes, size_t size, const char *instructions, char *error,
            size_t error_size, const Make &make)
    -> decltype(make(*refinestyle::native::kernels(), Constants(bytes, size))) {
  try {
    const auto *kernels = refinestyle::native::kernels(instructions);
    if (kernels == nullptr) throw BadGraph{"this machine lacks the instructions", instructions, ""};
    return make(*kernels, Constants(bytes, size));
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

template <class Run>
int32_t status_of(const Run &run) {
  try {
    return run() ? RS_NATIVE_OK : RS_NATIVE_STOPPED;
  } catch (const std::exception &) {
    return RS_NATIVE_MEMORY;
  }
}

}  // namespace

rs_native *rs_native_open(const uint8_t *bytes, size_t size, int32_t threads,
                          const char *instructions, char *error, size_t error_size) {
  return opened(bytes, size, instructions, error, error_size,
                [&](const Kernels &kernels, const Constants &constants) {
                  auto layers = std::make_shared<const Layers>(
                      refinestyle::native::build_layers(constants, kernels.panel));
                  return new rs_native{{std::move(layers), kernels, threads}};
                });
}

void rs_native_close(rs_native *network) { delete network; }

rs_native_shape rs_native_describe(const rs_native *network) {
  const auto &layers = network->synthesis.layers();
  return {layers.size,    layers.num_ws, layers.w_dim,
          layers.sum_out, layers.sum_in, layers.style_channels};
}

int32_t rs_native_run(rs_native *network, const float *w_plus, const float *P, const float *Q,
                      const float *style_offset, const float *modulation, int32_t rank,
                      float *image_float, uint8_t *image, uint8_t *finite, const int32_t *stop) {
  return status_of([&] {
    return network->synthesis.run({w_plus, P, Q, style_offset, modulation, rank},
                                  {image_float, image, finite}, stop);
  });
}

rs_native_trunk *rs_native_trunk_open(const uint8_t *bytes, size_t size, int32_t picture,
                                      int32_t threads, const char *instructions, char *error,
                                      size_t error_size) {
  return opened(bytes, size, instructions, error, error_size,
                [&](const Kernels &kernels, const Constants &constants) {
                  auto layers = std::make_shared<const TrunkLayers>(
                      refinestyle::native::build_trunk(constants, picture, kernels.panel));
                  return new rs_native_trunk{{std::move(layers), kernels, threads}};
                });
}

void rs_native_trunk_close(rs_native_trunk *trunk) { delete trunk; }

rs_native_trunk_shape rs_native_trunk_describe(const rs_native_trunk *trunk) {
  const auto &layers = trunk->trunk.layers();
  const auto [quarter, eighth, sixteenth] = Trunk::channels(layers);
  return {layers.in, layers.size, {quarter, eighth, sixteenth}};
}

int32_t rs_native_trunk_run(rs_native_trunk *trunk, const float *picture, float *quarter,
                            float *eighth, float *sixteenth, const int32_t *stop) {
  return status_of([&] { return trunk->trunk.run(picture, {quarter, eighth, sixteenth}, stop); });
}

const char *rs_native_instructions(void) { return refinestyle::native::kernels()->name; }
