// The inner operator as TensorRT plugins in namespace rs, version 1: RefineEpiloguePoint, -Box and
// -Up, each also with -Dense. The geometry is part of the name, for a graph's function of that name
// is what runs without the plugin, and a function's body cannot choose.
//
// Compiled from TensorRT's headers alone, 10.0 to 11.x; the library has no symbol of libnvinfer.
// It is loaded by IPluginRegistry::loadLibrary, trtexec --dynamicPlugins or setPluginsToSerialize,
// all of which find the two C functions at the end. No method calls ILogger, whose layout differs
// between 10.x and 11.x: what is wrong is said by the status that TensorRT reports.
#include <NvInferRuntime.h>

#include <cstdio>
#include <cstring>
#include <new>
#include <optional>

#include "refine_epilogue.h"

#if defined(_WIN32)
#define RS_EXPORT __declspec(dllexport)
#else
#define RS_EXPORT __attribute__((visibility("default")))
#endif

namespace rs {
namespace {

using namespace nvinfer1;

constexpr char kNamespace[] = "rs";
constexpr char kVersion[] = "1";
constexpr float kSlope = 0.2f, kGain = 1.41421356f;
constexpr int32_t kFailed = -1;

// The residual has rank L, with P beside it, or the output's channels.
struct Signature {
  const char* name;
  int32_t geometry;
  bool low_rank;

  int32_t inputs() const { return low_rank ? 6 : 5; }
  // Positions; the residual's place is 1 in both, -1 says that there is no such input.
  int32_t p() const { return low_rank ? 2 : -1; }
  int32_t demodulation() const { return low_rank ? 3 : 2; }
  int32_t noise() const { return low_rank ? 4 : 3; }
  int32_t bias() const { return low_rank ? 5 : 4; }
};
constexpr Signature kSignatures[] = {
    {"RefineEpiloguePoint", RS_POINT, true}, {"RefineEpiloguePointDense", RS_POINT, false},
    {"RefineEpilogueBox", RS_BOX, true},     {"RefineEpilogueBoxDense", RS_BOX, false},
    {"RefineEpilogueUp", RS_UP, true},       {"RefineEpilogueUpDense", RS_UP, false},
};

// The node's attributes, all optional in a graph.
struct Attributes {
  float slope = kSlope, gain = kGain;
};

std::optional<Attributes> read_attributes(const PluginFieldCollection* fields) {
  Attributes read;
  for (int32_t i = 0; fields != nullptr && i < fields->nbFields; ++i) {
    const PluginField& field = fields->fields[i];
    const bool slope = std::strcmp(field.name, "slope") == 0;
    if (!slope && std::strcmp(field.name, "gain") != 0) continue;
    if (field.type != PluginFieldType::kFLOAT32 || field.length != 1) return std::nullopt;
    if (field.data == nullptr) return std::nullopt;
    std::memcpy(slope ? &read.slope : &read.gain, field.data, sizeof(float));
  }
  return read;
}

int64_t volume(const Dims& dims) {
  int64_t product = 1;
  for (int32_t i = 0; i < dims.nbDims; ++i) product *= dims.d[i];
  return product;
}

class RefineEpiloguePlugin final : public IPluginV3,
                                   public IPluginV3OneCore,
                                   public IPluginV3OneBuild,
                                   public IPluginV3OneRuntime {
 public:
  RefineEpiloguePlugin(const Signature& signature, const Attributes& attributes)
      : signature_(signature), attributes_(attributes) {
    std::snprintf(timing_cache_id_, sizeof timing_cache_id_, "a%.9gg%.9g",
                  double(attributes.slope), double(attributes.gain));
    fields_[0] = PluginField("slope", &attributes_.slope, PluginFieldType::kFLOAT32, 1);
    fields_[1] = PluginField("gain", &attributes_.gain, PluginFieldType::kFLOAT32, 1);
    collection_ = {2, fields_};
  }
  // The collection points into the object, so copies are made from the attributes.
  RefineEpiloguePlugin(const RefineEpiloguePlugin&) = delete;
  RefineEpiloguePlugin& operator=(const RefineEpiloguePlugin&) = delete;

  IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
    switch (type) {
      case PluginCapabilityType::kCORE:
        return static_cast<IPluginV3OneCore*>(this);
      case PluginCapabilityType::kBUILD:
        return static_cast<IPluginV3OneBuild*>(this);
      case PluginCapabilityType::kRUNTIME:
        return static_cast<IPluginV3OneRuntime*>(this);
    }
    return nullptr;
  }
  IPluginV3* clone() noexcept override {
    return new (std::nothrow) RefineEpiloguePlugin(signature_, attributes_);
  }

  const char* getPluginName() const noexcept override { return signature_.name; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

  int32_t getNbOutputs() const noexcept override { return 1; }
  const char* getTimingCacheID() noexcept override { return timing_cache_id_; }

  int32_t getOutputDataTypes(DataType* outputs, int32_t output_count, const DataType* inputs,
                             int32_t input_count) const noexcept override {
    if (output_count != 1 || input_count != signature_.inputs()) return kFailed;
    outputs[0] = inputs[0];
    return 0;
  }

  int32_t getOutputShapes(const DimsExprs* inputs, int32_t input_count, const DimsExprs*,
                          int32_t shape_input_count, DimsExprs* outputs, int32_t output_count,
                          IExprBuilder& builder) noexcept override {
    const bool counts = input_count == signature_.inputs() && output_count == 1;
    if (!counts || shape_input_count != 0 || inputs[0].nbDims != 4) return kFailed;
    outputs[0] = inputs[0];
    if (signature_.geometry == RS_UP) {
      const IDimensionExpr* one = builder.constant(1);
      for (int32_t i = 2; i < 4; ++i) {
        outputs[0].d[i] = builder.operation(DimensionOperation::kSUB, *inputs[0].d[i], *one);
      }
    }
    return 0;
  }

  bool supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc* all,
                                 int32_t input_count, int32_t output_count) noexcept override {
    if (input_count != signature_.inputs() || output_count != 1) return false;
    const PluginTensorDesc& base = all[0].desc;
    const PluginTensorDesc& desc = all[position].desc;
    if (position == 0) return supports_map(base);
    const bool linear = desc.format == TensorFormat::kLINEAR;
    if (position == signature_.demodulation() || position == signature_.bias()) {
      return linear && desc.type == DataType::kFLOAT;
    }
    if (position == signature_.p() || position == signature_.noise()) {
      return linear && desc.type == base.type;
    }
    // The residual and the result lie in memory as the base does.
    if (desc.type != base.type || desc.format != base.format) return false;
    return desc.format == TensorFormat::kLINEAR || whole_vectors(desc.dims);
  }

  int32_t configurePlugin(const DynamicPluginTensorDesc* inputs, int32_t input_count,
                          const DynamicPluginTensorDesc*, int32_t output_count) noexcept override {
    if (input_count != signature_.inputs() || output_count != 1) return kFailed;
    return inputs[0].desc.dims.nbDims == 4 && inputs[1].desc.dims.nbDims == 4 ? 0 : kFailed;
  }

  int32_t onShapeChange(const PluginTensorDesc* inputs, int32_t input_count,
                        const PluginTensorDesc* outputs, int32_t output_count) noexcept override {
    if (input_count != signature_.inputs() || output_count != 1) return kFailed;
    return consistent(inputs, outputs[0]) ? 0 : kFailed;
  }

  int32_t enqueue(const PluginTensorDesc* inputs, const PluginTensorDesc* outputs,
                  const void* const* in, void* const* out, void*,
                  cudaStream_t stream) noexcept override {
    const Dims& result = outputs[0].dims;
    RsRefineEpilogue op{};
    op.base = in[0];
    op.residual = in[1];
    op.P = signature_.low_rank ? in[signature_.p()] : nullptr;
    op.demodulation = static_cast<const float*>(in[signature_.demodulation()]);
    op.noise = in[signature_.noise()];
    op.bias = static_cast<const float*>(in[signature_.bias()]);
    op.out = out[0];
    op.batch = static_cast<int32_t>(result.d[0]);
    op.channels = static_cast<int32_t>(result.d[1]);
    op.height = static_cast<int32_t>(result.d[2]);
    op.width = static_cast<int32_t>(result.d[3]);
    op.rank = signature_.low_rank ? static_cast<int32_t>(inputs[1].dims.d[1]) : 0;
    op.noise_batch = static_cast<int32_t>(volume(inputs[signature_.noise()].dims) /
                                          (result.d[2] * result.d[3]));
    op.dtype = dtype_of(inputs[0].type);
    op.layout =
        inputs[0].format == TensorFormat::kLINEAR ? RS_CHANNELS_FIRST : RS_CHANNELS_LAST;
    op.geometry = signature_.geometry;
    op.slope = attributes_.slope;
    op.gain = attributes_.gain;
    return rs_refine_epilogue(&op, stream) == RS_OK ? 0 : kFailed;
  }

  IPluginV3* attachToContext(IPluginResourceContext*) noexcept override { return clone(); }
  const PluginFieldCollection* getFieldsToSerialize() noexcept override { return &collection_; }

 private:
  static int32_t dtype_of(DataType type) {
    return type == DataType::kFLOAT ? RS_FLOAT32
           : type == DataType::kHALF ? RS_FLOAT16
                                     : RS_BFLOAT16;
  }

  // Channels-last with eight channels a vector is plain channels-last when no vector is padded.
  static bool whole_vectors(const Dims& dims) {
    return dims.nbDims == 4 && dims.d[1] > 0 && dims.d[1] % 8 == 0;
  }

  static bool supports_map(const PluginTensorDesc& desc) {
    const bool narrow = desc.type == DataType::kHALF || desc.type == DataType::kBF16;
    if (desc.format == TensorFormat::kHWC8) return narrow && whole_vectors(desc.dims);
    return desc.format == TensorFormat::kLINEAR && (narrow || desc.type == DataType::kFLOAT);
  }

  // Whether the sizes of all tensors follow from the result's.
  bool consistent(const PluginTensorDesc* inputs, const PluginTensorDesc& output) const {
    const Dims &base = inputs[0].dims, &residual = inputs[1].dims, &result = output.dims;
    if (base.nbDims != 4 || residual.nbDims != 4 || result.nbDims != 4) return false;
    const int64_t n = result.d[0], c = result.d[1];
    const int64_t edge = signature_.geometry == RS_UP ? 1 : 0;
    bool agree = base.d[0] == n && base.d[1] == c && residual.d[0] == n;
    for (int32_t i = 2; i < 4; ++i) {
      agree = agree && base.d[i] == result.d[i] + edge;
      agree = agree && residual.d[i] * (edge ? 2 : 1) == result.d[i];
    }
    if (signature_.low_rank) {
      const Dims& p = inputs[signature_.p()].dims;
      agree = agree && p.nbDims == 3 && p.d[0] == n && p.d[1] == residual.d[1] && p.d[2] == c;
    } else {
      agree = agree && residual.d[1] == c;
    }
    const int64_t noise = volume(inputs[signature_.noise()].dims);
    const int64_t pixels = result.d[2] * result.d[3];
    return agree && volume(inputs[signature_.demodulation()].dims) == n * c &&
           volume(inputs[signature_.bias()].dims) == c && (noise == pixels || noise == n * pixels);
  }

  const Signature& signature_;
  Attributes attributes_;
  char timing_cache_id_[64];  // no allocation: clone() must not throw
  PluginField fields_[2];
  PluginFieldCollection collection_;
};

class RefineEpilogueCreator final : public IPluginCreatorV3One {
 public:
  explicit RefineEpilogueCreator(const Signature& signature) : signature_(signature) {
    fields_[0] = PluginField("slope", nullptr, PluginFieldType::kFLOAT32, 1);
    fields_[1] = PluginField("gain", nullptr, PluginFieldType::kFLOAT32, 1);
    collection_ = {2, fields_};
  }

  // The phases differ in nothing: what a graph gives and what an engine kept are the same fields.
  IPluginV3* createPlugin(const char*, const PluginFieldCollection* fields,
                          TensorRTPhase) noexcept override {
    const std::optional<Attributes> attributes = read_attributes(fields);
    if (!attributes) return nullptr;
    return new (std::nothrow) RefineEpiloguePlugin(signature_, *attributes);
  }
  const PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
  const char* getPluginName() const noexcept override { return signature_.name; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

 private:
  const Signature& signature_;
  PluginField fields_[2];
  PluginFieldCollection collection_;
};

}  // namespace
}  // namespace rs

// TensorRT looks these two up by name when it loads the library.
extern "C" RS_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
  using Creator = rs::RefineEpilogueCreator;
  static Creator made[] = {Creator(rs::kSignatures[0]), Creator(rs::kSignatures[1]),
                           Creator(rs::kSignatures[2]), Creator(rs::kSignatures[3]),
                           Creator(rs::kSignatures[4]), Creator(rs::kSignatures[5])};
  static nvinfer1::IPluginCreatorInterface* const creators[] = {&made[0], &made[1], &made[2],
                                                                &made[3], &made[4], &made[5]};
  count = 6;
  return creators;
}

extern "C" RS_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder*) {}
