// soak BUNDLE: many threads draw what one thread draws, and a thousand handles come and go. For the
// sanitizers, which say what they find by themselves.
#include <cstdio>
#include <refinestyle/refinestyle.hpp>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kThreads = 8, kRequests = 100, kHandles = 1000;
const std::vector<std::vector<std::string>> kMixes = {{}, {"sketch"}, {"oil=0.5", "sketch=0.25"}};

std::vector<std::uint8_t> request(const refinestyle::Runtime& runtime, int number) {
  refinestyle::Image picture;
  picture.width = 13;
  picture.height = 11;
  picture.pixels.assign(13 * 11 * 3, static_cast<std::uint8_t>(number));
  refinestyle::Mix mix;
  for (const std::string& text : kMixes[static_cast<std::size_t>(number) % kMixes.size()]) {
    mix.domains.push_back(runtime.domain(text));
  }
  return runtime.invert(picture).synthesize(mix).pixels;
}

// Gives the number of requests whose picture differs from the serial one.
int differences(const refinestyle::Runtime& runtime) {
  std::vector<std::vector<std::uint8_t>> serial;
  for (int i = 0; i < kRequests; ++i) serial.push_back(request(runtime, i));
  std::vector<int> wrong(kThreads, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRequests; ++i) {
        const int number = (t + i) % kRequests;
        wrong[static_cast<std::size_t>(t)] +=
            request(runtime, number) != serial[static_cast<std::size_t>(number)];
      }
    });
  }
  int sum = 0;
  for (int t = 0; t < kThreads; ++t) {
    threads[static_cast<std::size_t>(t)].join();
    sum += wrong[static_cast<std::size_t>(t)];
  }
  return sum;
}

}  // namespace

int main(int, char** arguments) {
  const std::string bundle = arguments[1];
  refinestyle::Options options;
  options.provider = "openvino";
  options.threads = 1;
  const refinestyle::Runtime runtime(bundle, options);
  const int wrong = differences(runtime);
  std::printf("%d of %d requests differ\n", wrong, kThreads * kRequests);
  for (int i = 0; i < kHandles; ++i) {
    const refinestyle::Runtime another(bundle, options);
    another.domain(bundle + "/domains/sketch.tokens");
    try {
      another.domain("nosuch");
    } catch (const refinestyle::Failure& failure) {
      if (failure.status() != REFINESTYLE_USAGE) return 1;
    }
  }
  return wrong == 0 ? 0 : 1;
}
