#include "contracts/layers.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "contracts/error.h"
#include "contracts/fields.h"
#include "contracts/sha256.h"
#include "contracts/strict_json.h"

namespace refinestyle {
namespace {

constexpr std::int64_t kMaxResolution = 8192;
constexpr std::int64_t kMaxChannels = 65536;
constexpr int kImageChannels = 3;

std::string block_name(int resolution) { return "b" + std::to_string(resolution); }

std::vector<Layer> layers_of(const std::map<std::int64_t, std::int64_t>& channels, int kernel) {
  std::vector<Layer> layers;
  int before = 0;
  int block = 0;
  const auto add = [&](const char* name, LayerKind kind, int resolution, int in, int out, int k,
                       int up, int w_index) {
    const int index = static_cast<int>(layers.size());
    layers.push_back(
        {index, block_name(resolution) + name, kind, resolution, in, out, k, up, w_index});
  };
  for (const auto& [side, width] : channels) {
    const int resolution = static_cast<int>(side);
    const int out = static_cast<int>(width);
    if (block > 0) {
      add(".conv0", LayerKind::kConv, resolution, before, out, kernel, 2, 2 * block - 1);
    }
    add(".conv1", LayerKind::kConv, resolution, out, out, kernel, 1, 2 * block);
    add(".torgb", LayerKind::kToRgb, resolution, out, kImageChannels, 1, 1, 2 * block + 1);
    before = out;
    ++block;
  }
  return layers;
}

Json to_json(const Layer& layer) {
  return {{"index", layer.index},
          {"name", layer.name},
          {"kind", layer.kind == LayerKind::kConv ? "conv" : "torgb"},
          {"resolution", layer.resolution},
          {"in_channels", layer.in_channels},
          {"out_channels", layer.out_channels},
          {"kernel", layer.kernel},
          {"up", layer.up},
          {"w_index", layer.w_index}};
}

std::map<std::string, Slice> slices_of(const std::vector<Layer>& layers, int Layer::*width) {
  std::map<std::string, Slice> slices;
  std::size_t begin = 0;
  for (const Layer& layer : layers) {
    const std::size_t end = begin + static_cast<std::size_t>(layer.*width);
    slices[layer.name] = {begin, end};
    begin = end;
  }
  return slices;
}

std::size_t sum_of(const std::vector<Layer>& layers, int Layer::*width) {
  std::size_t sum = 0;
  for (const Layer& layer : layers) sum += static_cast<std::size_t>(layer.*width);
  return sum;
}

// Checks the fields of one layer; whether the numbers are right only the whole table can tell.
void check_row(const Json& row, const std::string& where) {
  check_object(row, where,
               {"index", "name", "kind", "resolution", "in_channels", "out_channels", "kernel",
                "up", "w_index"});
  for (const auto& [name, value] : row.items()) {
    const bool is_text = name == "name" || name == "kind";
    if (is_text ? !value.is_string() : !value.is_number_integer()) {
      throw Error(Status::kMalformed, where + ": wrong type of " + name, value.type_name(),
                  is_text ? "a string" : "an integer");
    }
  }
}

Error no_synthesis(const std::string& where, std::string found, std::string expected = "") {
  return {Status::kMalformed, where + ": not a StyleGAN2 synthesis network", std::move(found),
          std::move(expected)};
}

}  // namespace

bool Layer::operator==(const Layer& other) const {
  const auto fields = [](const Layer& l) {
    return std::tie(l.index, l.name, l.kind, l.resolution, l.in_channels, l.out_channels, l.kernel,
                    l.up, l.w_index);
  };
  return fields(*this) == fields(other);
}

LayerTable::LayerTable(std::vector<Layer> layers, int w_dim)
    : layers_(std::move(layers)), w_dim_(w_dim) {
  Json rows = Json::array();
  for (const Layer& layer : layers_) {
    (layer.kind == LayerKind::kConv ? convs_ : torgbs_).push_back(layer);
    rows.push_back(to_json(layer));
  }
  std::vector<Layer> styled = convs_;
  styled.insert(styled.end(), torgbs_.begin(), torgbs_.end());
  in_slices_ = slices_of(convs_, &Layer::in_channels);
  out_slices_ = slices_of(convs_, &Layer::out_channels);
  style_slices_ = slices_of(styled, &Layer::in_channels);
  sum_in_ = sum_of(convs_, &Layer::in_channels);
  sum_out_ = sum_of(convs_, &Layer::out_channels);
  sum_styles_ = sum_of(styled, &Layer::in_channels);
  hash_ = sha256_hex(view_of(canonical_json(Json::object({{"layers", rows}, {"w_dim", w_dim_}}))));
}

LayerTable LayerTable::from_channels(const std::map<std::int64_t, std::int64_t>& channels,
                                     std::int64_t w_dim, std::int64_t kernel) {
  std::int64_t expected = 4;
  for (const auto& [resolution, width] : channels) {
    if (resolution != expected || resolution > kMaxResolution) {
      throw Error(Status::kUsage, "channels per resolution do not describe a synthesis network",
                  "resolution " + std::to_string(resolution),
                  "every power of two from 4 to the image size, at most 8192");
    }
    expected *= 2;
  }
  if (channels.empty()) {
    throw Error(Status::kUsage, "channels per resolution do not describe a synthesis network",
                "none", "every power of two from 4 to the image size");
  }
  const auto check = [](const std::string& name, std::int64_t number) {
    if (number < 1 || number > kMaxChannels) {
      throw Error(Status::kUsage, name + " is out of range", std::to_string(number),
                  "an integer from 1 to " + std::to_string(kMaxChannels));
    }
  };
  for (const auto& [resolution, width] : channels) {
    check("channels[" + std::to_string(resolution) + "]", width);
  }
  check("w_dim", w_dim);
  if (kernel != 1 && kernel != 3) {
    throw Error(Status::kUsage, "kernel side is out of range", std::to_string(kernel), "1 or 3");
  }
  return {layers_of(channels, static_cast<int>(kernel)), static_cast<int>(w_dim)};
}

LayerTable LayerTable::from_json(const Json& value, const std::string& where) {
  check_object(value, where, {"layers", "w_dim"});
  const Json& rows = value["layers"];
  check_list(rows, where + ".layers", 1);
  check_integer(value["w_dim"], where + ".w_dim", 1, kMaxChannels);
  std::map<std::int64_t, std::int64_t> channels;
  for (const Json& row : rows) {
    check_row(row, where);
    if (row["kind"] == "conv") {
      const auto resolution = check_integer(row["resolution"], where, 4, kMaxResolution);
      channels[resolution] = check_integer(row["out_channels"], where, 1, kMaxChannels);
    }
  }
  const auto kernel = check_integer(rows[0]["kernel"], where, 1, 3);
  try {
    LayerTable table = from_channels(channels, value["w_dim"], kernel);
    if (rows.size() != table.layers_.size()) {
      throw Error(Status::kMalformed, where + ": wrong number of layers",
                  std::to_string(rows.size()), std::to_string(table.layers_.size()));
    }
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Json expected = to_json(table.layers_[i]);
      if (rows[i] != expected)
        throw no_synthesis(where, rows[i].dump(-1, ' ', true), expected.dump());
    }
    return table;
  } catch (const Error& error) {
    if (error.status != Status::kUsage) throw;
    throw no_synthesis(where, error.failed);
  }
}

const Layer* LayerTable::find(const std::string& name) const {
  const auto found = std::find_if(layers_.begin(), layers_.end(),
                                  [&name](const Layer& layer) { return layer.name == name; });
  return found == layers_.end() ? nullptr : &*found;
}

}  // namespace refinestyle
