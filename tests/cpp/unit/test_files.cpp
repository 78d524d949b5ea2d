#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "contracts/descriptor.h"
#include "contracts/files.h"
#include "outcome.h"

using namespace refinestyle;
namespace fs = std::filesystem;

namespace {

// A folder of its own, gone at the end.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("refinestyle-unit-" + std::to_string(count_++))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string operator/(const char* name) const { return (path_ / name).u8string(); }
  std::size_t size() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(path_), {}));
  }

 private:
  static inline int count_ = 0;
  fs::path path_;
};

void put(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

std::string get(const std::string& path) {
  return std::string(ByteView(read_file(path, 1000, "file")).text());
}

}  // namespace

TEST_CASE("only regular files of a limited size are read") {
  const Folder folder;
  put(folder / "file", "content");
  CHECK(get(folder / "file") == "content");
  const auto read = [](const std::string& path, std::uint64_t limit) {
    return outcome_of([&] { read_file(path, limit, "file"); });
  };
  CHECK(read(folder / "file", 7) == Status::kOk);
  CHECK(read(folder / "file", 6) == Status::kUnsafe);
  CHECK(read(folder / "none", 7) == Status::kUsage);
  CHECK(read(folder / "file/inside", 7) == Status::kUsage);
  CHECK(read(folder / "", 7) == Status::kMalformed);
  CHECK(read("", 7) == Status::kUsage);
  CHECK(read(std::string("a\0b", 3), 7) == Status::kUsage);
}

TEST_CASE("writing replaces a file whole and leaves nothing beside it") {
  const Folder folder;
  write_atomic(folder / "file", view_of("one"));
  write_atomic(folder / "file", view_of("two"));
  CHECK(get(folder / "file") == "two");
  CHECK(folder.size() == 1);
  CHECK(outcome_of([&] { write_atomic(folder / "no/file", view_of("x")); }) == Status::kResource);
  fs::create_directory(folder / "inside");
  CHECK(outcome_of([&] { write_atomic(folder / "inside", view_of("x")); }) == Status::kUsage);
  CHECK(folder.size() == 2);
}

#if !defined(_WIN32)

TEST_CASE("a link stays a link, and a file keeps its permissions") {
  const Folder folder;
  put(folder / "file", "one");
  fs::permissions(folder / "file", fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("file", folder / "link");
  fs::create_symlink("new", folder / "dangling");
  write_atomic(folder / "link", view_of("two"));
  write_atomic(folder / "dangling", view_of("three"));
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(get(folder / "file") == "two");
  CHECK(status_of(to_path(folder / "file")).mode == 0600);
  CHECK(fs::is_symlink(folder / "dangling"));
  CHECK(get(folder / "new") == "three");
}

TEST_CASE("what a dead writer left is removed, what a living one writes is not") {
  const Folder folder;
  put(folder / ".refinestyle-000000000000-dead.part", "half");
  Descriptor living = Descriptor::create(to_path(folder / ".refinestyle-000000000000-live.part"));
  CHECK(living.try_lock());
  write_atomic(folder / "file", view_of("whole"));
  CHECK(!fs::exists(folder / ".refinestyle-000000000000-dead.part"));
  CHECK(fs::exists(folder / ".refinestyle-000000000000-live.part"));
}

#endif
