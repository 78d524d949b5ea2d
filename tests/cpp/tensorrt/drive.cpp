// Opens the engine "double" beside a bundle, y = 2 x, runs it in many ways and
// prints what it saw as JSON; what was refused, with its status.
//
//   drive BUNDLE [LIBCUDART LIBNVINFER]    the stand-ins, to read their
//   counters
#include <atomic>
#include <iostream>
#include <thread>

#include "contracts/error.h"
#include "contracts/strict_json.h"
#include "engines/shared_library.h"
#include "engines/tensorrt_engine.h"

using namespace refinestyle;

namespace {

constexpr int kThreads = 4;
constexpr int kRuns = 20;
const std::string kGraph = "a graph";

Tensor counted(std::int64_t rows, float first) {
  Tensor x(DType::kFloat32, {rows, 2});
  for (std::int64_t i = 0; i < 2 * rows; ++i) x.data<float>()[i] = first + static_cast<float>(i);
  return x;
}

bool doubles(Engine& engine, std::int64_t rows, float first) {
  const Tensor x = counted(rows, first);
  const Tensors outputs = engine.run({{"x", x.view()}});
  const Tensor& y = outputs.at("y");
  bool right = y.shape == x.shape && outputs.size() == 1;
  for (std::int64_t i = 0; right && i < 2 * rows; ++i) {
    right = y.data<float>()[i] == 2 * x.data<float>()[i];
  }
  return right;
}

int status_of(Engine& engine, const std::string& name, const Tensor& x) {
  try {
    engine.run({{name, x.view()}});
  } catch (const Error& error) {
    return static_cast<int>(error.status);
  }
  return 0;
}

std::unique_ptr<Engine> open(const std::string& bundle) {
  this_machine();
  return open_tensorrt(
      {"double", Bytes(kGraph.begin(), kGraph.end()), "fp32", {}, "tensorrt", bundle});
}

bool run_side_by_side(Engine& engine) {
  std::atomic<bool> right{true};
  std::vector<std::thread> threads;
  for (int n = 0; n < kThreads; ++n) {
    threads.emplace_back([&, n] {
      for (int i = 0; i < kRuns; ++i) right = doubles(engine, 1 + i % 4, 100.0f * n) && right;
    });
  }
  for (std::thread& thread : threads) thread.join();
  return right;
}

Json drive(char** words) {
  const std::string bundle = words[1], cudart = words[2], nvinfer = words[3];
  const auto count = [](const std::string& library, const char* what) {
    return reinterpret_cast<int (*)()>(load_symbol(library, what))();
  };
  std::unique_ptr<Engine> engine = open(bundle);
  open(bundle);  // plugins are registered once
  Json seen;
  for (std::int64_t rows : {3, 3, 2, 4}) {
    seen["right"].push_back(doubles(*engine, rows, 1));
    seen["allocations"].push_back(count(cudart, "stand_in_allocations"));
  }
  seen["kept"] = count(cudart, "stand_in_buffers");
  const Tensor x = counted(3, 0);
  seen["refused"] = {status_of(*engine, "z", x), status_of(*engine, "x", counted(5, 0)),
                     status_of(*engine, "x", Tensor(DType::kFloat16, {3, 2})),
                     status_of(*engine, "x", Tensor(DType::kFloat32, {3}))};
  seen["side_by_side"] = run_side_by_side(*engine);
  seen["contexts"] = count(nvinfer, "stand_in_contexts");
  seen["plugins"] = count(nvinfer, "stand_in_plugins");
  engine.reset();
  seen["left"] = {count(cudart, "stand_in_buffers"), count(cudart, "stand_in_streams")};
  return seen;
}

}  // namespace

int main(int count, char** words) {
  Json report;
  try {
    report = count == 4 ? drive(words) : (open(words[1]), Json::object());
    report["status"] = 0;
  } catch (const Error& error) {
    report = {{"status", static_cast<int>(error.status)}, {"message", error.what()}};
    if (count == 4 && error.status != Status::kResource) {
      const auto seen = load_symbol(words[3], "stand_in_deserialized");
      report["deserialized"] = reinterpret_cast<int (*)()>(seen)();
    }
  }
  std::cout << report.dump() << std::endl;
}
