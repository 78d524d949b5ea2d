// Threads of the native engine at work, for the thread sanitizer: native_threads GRAPH, which has
// the constants of a synthesis and of a trunk. Status 0 if all is well.
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "native/constants.h"
#include "native/pool.h"
#include "native/synthesis.h"
#include "native/trunk.h"

using namespace refinestyle::native;

namespace {

int failures = 0;

void check(bool sound, const char* what) {
  if (sound) return;
  std::fprintf(stderr, "%s\n", what);
  ++failures;
}

// Phases follow each other at once, or after a sleep; each reads what the one before has written.
void share_work(int threads, int phases) {
  Pool pool(threads);
  std::vector<int> values(97, 0), next(97, 0), expected(97, 0);
  for (int phase = 0; phase < phases; ++phase) {
    const int count = phase % 5 == 0 ? 1 : static_cast<int>(values.size()) - phase % 7;
    pool.each(count, [&](int i, int) { next[i] = values[(i + 1) % count] + 1; });
    pool.each(count, [&](int i, int) { values[i] = next[i]; });
    pool.each(0, [&](int, int) { values[0] = -1; });
    const std::vector<int> before = expected;
    for (int i = 0; i < count; ++i) expected[i] = before[(i + 1) % count] + 1;
    if (phase % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  check(values == expected, "work was left out, or done twice");
}

struct Arrays {
  explicit Arrays(const Layers& layers, float scale) : layers(layers) {
    const auto fill = [&](std::vector<float>& values, long count, float average) {
      for (long i = 0; i < count; ++i) {
        values.push_back(average + scale * std::sin(static_cast<float>(i)));
      }
    };
    fill(w_plus, static_cast<long>(layers.num_ws) * layers.w_dim, 0);
    fill(P, kRank * layers.sum_out, 0);
    fill(Q, kRank * layers.sum_in, 0);
    fill(style_offset, layers.style_channels, 0);
    fill(modulation, layers.sum_in, 1);
  }

  bool draw(Synthesis& synthesis, std::vector<float>& image_float, const int32_t* stop) const {
    image_float.resize(std::size_t{3} * layers.size * layers.size);
    std::vector<uint8_t> image(image_float.size());
    uint8_t finite;
    return synthesis.run(
        {w_plus.data(), P.data(), Q.data(), style_offset.data(), modulation.data(), kRank},
        {image_float.data(), image.data(), &finite}, stop);
  }

  static constexpr int kRank = 3;
  const Layers& layers;
  std::vector<float> w_plus, P, Q, style_offset, modulation;
};

// Callers of two networks, which share their layers; one of them is stopped now and then.
void draw(const std::shared_ptr<const Layers>& layers, const Kernels& own) {
  Synthesis networks[2] = {{layers, own, 3}, {layers, own, 2}};
  const Arrays some(*layers, 0.1f), others(*layers, 0.2f);
  std::vector<float> first, second;
  some.draw(networks[0], first, nullptr);
  others.draw(networks[0], second, nullptr);
  check(first != second, "different inputs, one picture");
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      std::vector<float> drawn;
      for (int times = 0; times < 6; ++times) {
        const bool is_first = (caller + times) % 2 == 0;
        (is_first ? some : others).draw(networks[caller % 2], drawn, nullptr);
        if (drawn != (is_first ? first : second)) ++wrong;
      }
    });
  }
  int32_t stop = 0;
  std::thread stopped([&] {
    std::vector<float> drawn;
    while (some.draw(networks[1], drawn, &stop)) {
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  stopped.join();
  for (std::thread& caller : callers) caller.join();
  check(wrong == 0, "threads disturb each other");
}

// The same for trunks.
void encode(const std::shared_ptr<const TrunkLayers>& layers, const Kernels& own) {
  Trunk trunks[2] = {{layers, own, 3}, {layers, own, 2}};
  const int size = layers->size;
  std::vector<float> picture(std::size_t{1} * layers->in * size * size);
  for (std::size_t i = 0; i < picture.size(); ++i) picture[i] = std::sin(static_cast<float>(i));
  const auto run = [&](Trunk& trunk, const int32_t* stop) {
    std::vector<float> taps[3];
    for (int tap = 0; tap < 3; ++tap) {
      const int side = size >> (tap + 2);
      taps[tap].resize(std::size_t{1} * Trunk::channels(*layers)[tap] * side * side);
    }
    const std::array<float*, 3> places = {taps[0].data(), taps[1].data(), taps[2].data()};
    const bool done = trunk.run(picture.data(), places, stop);
    return std::make_pair(done, taps[2]);
  };
  const std::vector<float> expected = run(trunks[0], nullptr).second;
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int times = 0; times < 3; ++times) {
        if (run(trunks[caller % 2], nullptr).second != expected) ++wrong;
      }
    });
  }
  int32_t stop = 0;
  std::thread stopped([&] {
    while (run(trunks[1], &stop).first) {
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  stopped.join();
  for (std::thread& caller : callers) caller.join();
  check(wrong == 0, "threads disturb each other in a trunk");
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  for (int threads : {1, 2, 3, 5}) share_work(threads, 1000);
  for (int times = 0; times < 50; ++times) share_work(4, 1);
  std::ifstream file(arguments[1], std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  for (const char* instructions : {"baseline", "avx2", "avx512"}) {
    const Kernels* own = kernels(instructions);
    if (own == nullptr) continue;
    const Constants constants(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    encode(std::make_shared<const TrunkLayers>(build_trunk(constants, 32, own->panel)), *own);
    draw(std::make_shared<const Layers>(build_layers(constants, own->panel)), *own);
  }
  return failures == 0 ? 0 : 1;
}
