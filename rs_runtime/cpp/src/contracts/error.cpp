#include "contracts/error.h"

#include <utility>

#include "contracts/unicode.h"

namespace refinestyle {

Error::Error(Status status, std::string failed, std::string found, std::string expected,
             std::string hint)
    : status(status),
      failed(std::move(failed)),
      found(std::move(found)),
      expected(std::move(expected)),
      hint(std::move(hint)) {
  message_ = escape_text(this->failed);
  if (!this->found.empty()) message_ += "\nfound " + escape_text(this->found);
  if (!this->expected.empty()) {
    message_ += (this->found.empty() ? "\n" : ", ") + ("expected " + escape_text(this->expected));
  }
  if (!this->hint.empty()) message_ += "\n" + escape_text(this->hint);
}

}  // namespace refinestyle
