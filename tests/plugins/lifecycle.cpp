// Takes a plugin library through what TensorRT does with one, from loading to results.
//
// It knows TensorRT only by its genuine headers and no plugin by its class; `drive` returns 0, or
// sets the text of the first expectation that failed.
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using namespace nvinfer1;

namespace {

constexpr DataType kTypes[] = {DataType::kFLOAT, DataType::kHALF, DataType::kBF16};

std::string failure;

void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

struct Value final : apiv::VDimensionExpr {
  int64_t value = 0;
  bool isConstant() const override { return true; }
  int64_t getConstantValue() const override { return value; }
  bool isSizeTensor() const override { return false; }
};

struct Expression final : IDimensionExpr {
  Value value;
  explicit Expression(int64_t number) {
    value.value = number;
    mImpl = &value;
  }
};

struct Expressions final : apiv::VExprBuilder {
  std::deque<Expression> made;
  const IDimensionExpr* constant(int64_t value) override { return &made.emplace_back(value); }
  const IDimensionExpr* operation(DimensionOperation op, const IDimensionExpr& first,
                                  const IDimensionExpr& second) override {
    expect(op == DimensionOperation::kSUB, "an operation other than a difference");
    return constant(first.getConstantValue() - second.getConstantValue());
  }
  const IDimensionExpr* declareSizeTensor(int32_t, const IDimensionExpr&,
                                          const IDimensionExpr&) override {
    throw std::runtime_error("a size tensor");
  }
};

struct Builder final : IExprBuilder {
  Expressions expressions;
  Builder() { mImpl = &expressions; }
};

// What an engine keeps of a plugin: names, types and bytes.
struct Kept {
  std::deque<std::string> names;
  std::deque<std::vector<char>> bytes;
  std::vector<PluginField> fields;

  explicit Kept(const PluginFieldCollection& collection) {
    for (int32_t i = 0; i < collection.nbFields; ++i) {
      const PluginField& field = collection.fields[i];
      const char* data = static_cast<const char*>(field.data);
      names.emplace_back(field.name);
      bytes.emplace_back(data, data + 4 * field.length);
      fields.emplace_back(names.back().c_str(), bytes.back().data(), field.type, field.length);
    }
  }
  PluginFieldCollection collection() const {
    return {static_cast<int32_t>(fields.size()), fields.data()};
  }
};

template <typename Capability>
Capability* capability(IPluginV3& plugin, PluginCapabilityType type) {
  IPluginCapability* found = plugin.getCapabilityInterface(type);
  expect(found != nullptr, "a capability is missing");
  return static_cast<Capability*>(found);
}

IPluginCreatorV3One* creator_of(void* library, const char* name) {
  using GetCreators = IPluginCreatorInterface* const* (*)(int32_t&);
  const auto get = reinterpret_cast<GetCreators>(dlsym(library, "getCreators"));
  const auto set = reinterpret_cast<void (*)(ILoggerFinder*)>(dlsym(library, "setLoggerFinder"));
  expect(get != nullptr && set != nullptr, "getCreators or setLoggerFinder is not exported");
  set(nullptr);
  int32_t count = 0;
  IPluginCreatorInterface* const* creators = get(count);
  for (int32_t i = 0; i < count; ++i) {
    const std::string kind = creators[i]->getInterfaceInfo().kind;
    expect(kind == "PLUGIN CREATOR_V3ONE", "a creator of kind " + kind);
    auto* creator = static_cast<IPluginCreatorV3One*>(creators[i]);
    if (std::strcmp(creator->getPluginName(), name) == 0) return creator;
  }
  throw std::runtime_error(std::string("no creator for ") + name);
}

struct Tensors {
  std::vector<PluginTensorDesc> descs;  // inputs, then the output
  int32_t inputs() const { return static_cast<int32_t>(descs.size()) - 1; }
};

void build_phase(IPluginV3& plugin, const Tensors& tensors) {
  auto* core = capability<IPluginV3OneCore>(plugin, PluginCapabilityType::kCORE);
  expect(std::strcmp(core->getPluginNamespace(), "rs") == 0, "the namespace");
  expect(std::strcmp(core->getPluginVersion(), "1") == 0, "the version");
  auto* build = capability<IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
  const int32_t count = tensors.inputs();
  expect(build->getNbOutputs() == 1, "the number of outputs");

  std::vector<DataType> types;
  for (int32_t i = 0; i < count; ++i) types.push_back(tensors.descs[i].type);
  DataType result{};
  expect(build->getOutputDataTypes(&result, 1, types.data(), count) == 0, "the output's type");
  expect(result == tensors.descs[count].type, "the output has another type");

  Builder builder;
  std::vector<DimsExprs> shapes(count);
  for (int32_t i = 0; i < count; ++i) {
    shapes[i].nbDims = tensors.descs[i].dims.nbDims;
    for (int32_t j = 0; j < shapes[i].nbDims; ++j) {
      shapes[i].d[j] = builder.constant(tensors.descs[i].dims.d[j]);
    }
  }
  DimsExprs shape{};
  const int32_t shaped =
      build->getOutputShapes(shapes.data(), count, nullptr, 0, &shape, 1, builder);
  expect(shaped == 0 && shape.nbDims == 4, "the output's shape");
  for (int32_t j = 0; j < 4; ++j) {
    expect(shape.d[j]->getConstantValue() == tensors.descs[count].dims.d[j], "the output's size");
  }

  std::vector<DynamicPluginTensorDesc> all;
  for (const PluginTensorDesc& desc : tensors.descs) {
    all.push_back({desc, desc.dims, desc.dims, desc.dims});
  }
  for (int32_t i = 0; i <= count; ++i) {
    const bool taken = build->supportsFormatCombination(i, all.data(), count, 1);
    expect(taken, "format refused at position " + std::to_string(i));
  }
  const int32_t configured = build->configurePlugin(all.data(), count, all.data() + count, 1);
  expect(configured == 0, "configurePlugin");
  expect(build->getWorkspaceSize(all.data(), count, all.data() + count, 1) == 0, "a workspace");
  expect(build->getTimingCacheID() != nullptr, "without an id nothing is kept of timings");
}

void run_phase(IPluginV3& plugin, const Tensors& tensors, void* const* pointers) {
  auto* loaded = capability<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
  const std::unique_ptr<IPluginV3> attached(loaded->attachToContext(nullptr));
  expect(attached != nullptr && attached.get() != &plugin, "attachToContext");
  auto* runtime = capability<IPluginV3OneRuntime>(*attached, PluginCapabilityType::kRUNTIME);
  const int32_t count = tensors.inputs();
  const PluginTensorDesc *in = tensors.descs.data(), *out = in + count;
  PluginTensorDesc wrong = *out;
  wrong.dims.d[1] += 1;
  expect(runtime->onShapeChange(in, count, &wrong, 1) != 0, "a wrong shape was taken");
  expect(runtime->onShapeChange(in, count, out, 1) == 0, "onShapeChange");
  void* const outputs[] = {pointers[count]};
  const int32_t ran = runtime->enqueue(in, out, pointers, outputs, nullptr, nullptr);
  expect(ran == 0, "enqueue");
}

}  // namespace

extern "C" const char* drive_failure() { return failure.c_str(); }

// `whole` gives the slope as an integer, which is wrong. `sizes` holds nine numbers a tensor: how
// many dimensions, then they; `types` counts float32, float16, bfloat16; `vectors` says which lie in
// vectors of eight channels; the output comes last.
extern "C" int drive(const char* path, const char* name, float slope, float gain, int32_t whole,
                     int32_t tensor_count, const int64_t* sizes, const int32_t* types,
                     const int32_t* vectors, void* const* pointers) {
  try {
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    expect(library != nullptr, std::string("dlopen: ") + (library ? "" : dlerror()));
    IPluginCreatorV3One* creator = creator_of(library, name);
    expect(creator->getFieldNames()->nbFields == 2, "the number of attributes");
    Tensors tensors;
    for (int32_t i = 0; i < tensor_count; ++i, sizes += 9) {
      PluginTensorDesc desc{};
      desc.dims.nbDims = static_cast<int32_t>(sizes[0]);
      for (int32_t j = 0; j < desc.dims.nbDims; ++j) desc.dims.d[j] = sizes[1 + j];
      desc.type = kTypes[types[i]];
      desc.format = vectors[i] ? TensorFormat::kHWC8 : TensorFormat::kLINEAR;
      tensors.descs.push_back(desc);
    }
    const PluginFieldType kind = whole ? PluginFieldType::kINT32 : PluginFieldType::kFLOAT32;
    const PluginField fields[] = {{"slope", &slope, kind, 1},
                                  {"gain", &gain, PluginFieldType::kFLOAT32, 1},
                                  {"plugin_namespace", "rs", PluginFieldType::kCHAR, 2}};
    const PluginFieldCollection given{3, fields};
    std::unique_ptr<IPluginV3> first(creator->createPlugin("node", &given, TensorRTPhase::kBUILD));
    expect(first != nullptr, "createPlugin");
    std::unique_ptr<IPluginV3> built(first->clone());
    first.reset();
    build_phase(*built, tensors);
    auto* runtime = capability<IPluginV3OneRuntime>(*built, PluginCapabilityType::kRUNTIME);
    const Kept kept(*runtime->getFieldsToSerialize());
    built.reset();
    const PluginFieldCollection again = kept.collection();
    const std::unique_ptr<IPluginV3> loaded(
        creator->createPlugin("node", &again, TensorRTPhase::kRUNTIME));
    expect(loaded != nullptr, "createPlugin from an engine's fields");
    run_phase(*loaded, tensors, pointers);
    return 0;
  } catch (const std::exception& error) {
    failure = error.what();
    return 1;
  }
}
