// What the pipeline asks of an engine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "contracts/bytes.h"
#include "engines/tensor.h"

namespace refinestyle {

// What an engine calls its verdict on a graph's outputs, see Engine::run.
inline constexpr char kFinite[] = "finite";

// One graph, opened and ready.
class Engine {
 public:
  virtual ~Engine() = default;

  // Runs the graph once; threads may run side by side.
  //
  // Takes every input and gives every output of the graph by name. An engine that goes over the
  // values anyway adds kFinite, uint8 [N]: 1 where all of a sample's are, else 0. Throws
  // kIncompatible if the graph does not take these inputs, kResource if memory runs out.
  virtual Tensors run(const Views& inputs) = 0;
};

// How graphs are opened.
struct EngineOptions {
  std::string provider = "auto";  // or a provider's name, which then never falls back
  std::string onnxruntime;        // path of ONNX Runtime's library; empty: the loader's search
  int threads = 0;                // CPU threads of one run; 0 leaves the engine's default
  bool beside_another = false;    // another engine's runs follow on the same CPUs
};

// A graph to be opened.
struct Graph {
  std::string label;      // what to call it in messages
  Bytes bytes;            // an ONNX model with its weights inside
  std::string precision;  // as the manifest calls what it is computed in
  Shapes shapes;          // of its inputs; -1 for a side known only at run time
  std::string engine;     // as the manifest calls what runs it
  std::string bundle;     // its folder, beside which built engines lie
};

}  // namespace refinestyle
