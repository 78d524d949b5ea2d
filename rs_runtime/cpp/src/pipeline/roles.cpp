#include "pipeline/roles.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "contracts/error.h"

namespace refinestyle {
namespace {

constexpr const char* kBatchSide = "N";
constexpr const char* kCpuForm = "cpu";
// TensorRT has no engines for them: too small to gain by a GPU.
constexpr const char* kHostRoles[] = {"preprocess", "mapping", "text", "vision", "hypernetwork"};

bool is_exact(const Variant& variant) {  // stored in whatever way, computed in fp32
  return variant.precision == "fp32" || variant.precision == "fp16_stored";
}

bool suits(const Variant& variant, const Provider& provider) {
  if (variant.engine != provider.engine) return false;
  return provider.on_cpu ? is_exact(variant) : variant.form != kCpuForm;
}

bool is_on_host(const std::string& name, const Provider& provider) {
  const auto* end = std::end(kHostRoles);
  return std::string(provider.name) == "tensorrt" &&
         std::find(std::begin(kHostRoles), end, name) != end;
}

bool is_batch_side(const Side& side) {
  const auto* name = std::get_if<std::string>(&side);
  return name != nullptr && *name == kBatchSide;
}

Error no_variant(const std::string& name, const Role& role, const Provider& provider) {
  std::string found;
  for (const Variant& variant : role.variants) {
    found += (found.empty() ? "" : ", ") + variant.engine + " " + variant.precision;
  }
  return Error(Status::kIncompatible,
               "the bundle's " + name + " graph is not for provider '" + provider.name + "'", found,
               std::string(provider.engine) + ", fp32 or fp16_stored",
               "export it again: rs-export --model two_stage, or use the provider auto");
}

}  // namespace

const Variant* choose_variant(const std::string& name, const Role& role, const Provider& provider) {
  const auto first = [&](const auto& suitable) -> const Variant* {
    const auto found = std::find_if(role.variants.begin(), role.variants.end(), suitable);
    return found == role.variants.end() ? nullptr : &*found;
  };
  const auto exact_of = [&](const std::string& engine) {
    return first([&](const Variant& variant) {
      return variant.engine == engine && is_exact(variant);
    });
  };
  if (is_on_host(name, provider)) return exact_of("onnxruntime");
  if (std::string(provider.name) == "native" && name != kNativeRole) {
    if (companions().empty()) return nullptr;
    const Variant* found = exact_of("native");
    for (const std::string& engine : companions()) {
      if (found == nullptr) found = exact_of(engine);
    }
    return found;
  }
  if (std::string(provider.name) == "openvino-bf16") {
    // A role that bf16 would spoil has no such variant, and is computed in fp32.
    const Variant* bf16 = first([&](const Variant& variant) {
      return variant.engine == provider.engine && variant.precision == "bf16";
    });
    if (bf16 != nullptr) return bf16;
  }
  return first([&](const Variant& variant) { return suits(variant, provider); });
}

Shapes input_shapes(const Role& role, const Variant& variant) {
  Shapes shapes;
  for (const TensorSpec& spec : role.inputs) {
    Shape& shape = shapes[spec.name];
    for (const Side& side : spec.shape) {
      if (const auto* number = std::get_if<std::int64_t>(&side)) {
        shape.push_back(*number);
      } else {
        shape.push_back(is_batch_side(side) && variant.batch != 0 ? variant.batch : -1);
      }
    }
  }
  return shapes;
}

RoleRunner::RoleRunner(const Bundle& bundle, EngineOptions options)
    : bundle_(bundle),
      selection_(std::move(options), [this](const Provider& own) { return serves(own); }) {}

bool RoleRunner::has(const std::string& name) const {
  return bundle_.manifest().roles.count(name) != 0;
}

const Role& RoleRunner::role(const std::string& name) const {
  const auto& roles = bundle_.manifest().roles;
  const auto found = roles.find(name);
  if (found != roles.end()) return found->second;
  std::string list;
  for (const auto& [own, role] : roles) list += (list.empty() ? "" : ", ") + own;
  throw Error(Status::kIncompatible, "the bundle has no " + name + " graph, which this needs", list,
              "", "export it again with rs-export, or use another bundle");
}

std::size_t RoleRunner::largest_batch(const std::string& name) const {
  return open(name).largest_batch;
}

Tensors RoleRunner::run(const std::string& name, const Views& inputs) const {
  const Opened& opened = open(name);
  std::vector<std::string> batched;
  std::int64_t count = 1;
  for (const TensorSpec& spec : role(name).inputs) {
    if (!spec.shape.empty() && is_batch_side(spec.shape[0]) && inputs.count(spec.name)) {
      batched.push_back(spec.name);
      count = inputs.at(spec.name).shape[0];
    }
  }
  const auto step = static_cast<std::int64_t>(opened.largest_batch);
  if (count <= step) return opened.engine->run(inputs);
  std::map<std::string, std::vector<Tensor>> pieces;
  for (std::int64_t begin = 0; begin < count; begin += step) {
    Views piece = inputs;
    for (const std::string& own : batched) {
      piece.at(own) = inputs.at(own).rows(begin, std::min(begin + step, count));
    }
    for (auto& [own, tensor] : opened.engine->run(piece)) pieces[own].push_back(std::move(tensor));
  }
  Tensors outputs;
  for (auto& [own, parts] : pieces) outputs[own] = concatenate(std::move(parts));
  return outputs;
}

const char* RoleRunner::provider() const {
  const Provider* chosen = selection_.chosen();
  return chosen == nullptr ? "" : chosen->name;
}

const RoleRunner::Opened& RoleRunner::open(const std::string& name) const {
  const Role& own = role(name);
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = opened_.find(name);
  if (found != opened_.end()) return found->second;
  const Variant* variant = nullptr;
  std::unique_ptr<Engine> engine = selection_.open([&](const Provider& provider) {
    variant = choose_variant(name, own, provider);
    if (variant == nullptr) throw no_variant(name, own, provider);
    return Graph{name,
                 bundle_.read(variant->file),
                 variant->precision,
                 input_shapes(own, *variant),
                 variant->engine,
                 bundle_.root()};
  });
  const std::size_t largest =
      variant->batch == 0 ? kMaxBatch : static_cast<std::size_t>(variant->batch);
  return opened_.emplace(name, Opened{std::move(engine), largest}).first->second;
}

bool RoleRunner::serves(const Provider& provider) const {
  const auto& roles = bundle_.manifest().roles;
  return std::all_of(roles.begin(), roles.end(), [&](const auto& entry) {
    return choose_variant(entry.first, entry.second, provider) != nullptr;
  });
}

}  // namespace refinestyle
