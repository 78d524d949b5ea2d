#include "contracts/strict_json.h"

#include <set>
#include <vector>

#include "contracts/error.h"

namespace refinestyle {
namespace {

constexpr int kMaxDepth = 32;

// Refuses, while a text is parsed, what nlohmann's parser would let pass.
class Watch {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    switch (event) {
      case Json::parse_event_t::object_start:
        keys_.emplace_back();
        [[fallthrough]];
      case Json::parse_event_t::array_start:
        if (depth >= kMaxDepth) throw Refusal{"nesting deeper than " + std::to_string(kMaxDepth)};
        break;
      case Json::parse_event_t::key:
        if (const auto& key = parsed.get_ref<const std::string&>();
            !keys_.back().insert(key).second)
          throw Refusal{"the key '" + key.substr(0, 80) + "' twice in one object"};
        break;
      case Json::parse_event_t::object_end:
        keys_.pop_back();
        break;
      default:
        break;
    }
    return true;
  }

  struct Refusal {
    std::string reason;
  };

 private:
  std::vector<std::set<std::string>> keys_;  // of the objects that are open
};

Error invalid(const std::string& what, const std::string& reason) {
  return {Status::kMalformed, what + ": not valid JSON", reason};
}

}  // namespace

Json parse_json(std::string_view text, const std::string& what) {
  // The parser would skip a byte order mark and stop at a NUL.
  if (text.substr(0, 3) == "\xEF\xBB\xBF") throw invalid(what, "a byte order mark");
  if (text.find('\0') != text.npos) throw invalid(what, "a NUL byte");
  try {
    return Json::parse(text.begin(), text.end(), Watch());
  } catch (const Watch::Refusal& refusal) {
    throw invalid(what, refusal.reason);
  } catch (const Json::parse_error& error) {
    throw invalid(what, "a syntax error at byte " + std::to_string(error.byte));
  } catch (const Json::out_of_range&) {
    throw invalid(what, "a number too large for a double");
  }
}

std::string canonical_json(const Json& value) { return value.dump(-1, ' ', true); }

}  // namespace refinestyle
