#include "contracts/aside.h"

#include <mutex>
#include <random>
#include <set>
#include <string>
#include <system_error>

#include "contracts/sha256.h"

namespace refinestyle {
namespace {

namespace fs = std::filesystem;

constexpr char kMark[] = ".refinestyle-";
constexpr char kEnding[] = ".part";

std::string random_digits() {
  std::random_device random;
  std::string digits;
  for (int i = 0; i < 12; ++i) digits += "0123456789abcdef"[random() & 15];
  return digits;
}

fs::path new_name(const fs::path& target) {
  // A digest keeps the length fixed: a name may already be as long as the file system allows.
  const std::string digest = sha256_hex(view_of(to_text(target.filename()))).substr(0, 12);
  return folder_of(target) / (kMark + digest + "-" + random_digits() + kEnding);
}

// Creates the file; another writer's sweep may be faster than the lock and take it for a leftover.
Descriptor create_locked(const fs::path& target, fs::path& path) {
  for (;;) {
    path = new_name(target);
    Descriptor file = Descriptor::create(path);
    if (file.try_lock() && file.is_at(path)) return file;
  }
}

#if !defined(_WIN32)
bool is_unfinished(const std::string& name) {
  const std::string ending = kEnding;
  return name.rfind(kMark, 0) == 0 && name.size() > ending.size() &&
         name.compare(name.size() - ending.size(), ending.size(), ending) == 0;
}
#endif

}  // namespace

Aside::Aside(const fs::path& target) : file_(create_locked(target, path_)) {}

Aside::~Aside() {
  if (path_.empty()) return;
  file_.close();
  std::error_code ignored;
  fs::remove(path_, ignored);
}

void Aside::rename_to(const fs::path& target) {
#if defined(_WIN32)
  file_.close();  // there an open file cannot be renamed
#endif
  fs::rename(path_, target);
  path_.clear();
}

void sweep_leftovers(const fs::path& folder) {
#if !defined(_WIN32)  // without locks nobody can tell which of them are leftovers
  static std::mutex mutex;
  static std::set<fs::path> swept;
  const std::lock_guard<std::mutex> guard(mutex);
  if (!swept.insert(folder).second) return;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    if (!is_unfinished(to_text(entry.path().filename())) || entry.is_symlink(ignored)) continue;
    try {
      if (Descriptor::open(entry.path()).try_lock()) fs::remove_all(entry.path(), ignored);
    } catch (const std::system_error&) {
      // Another process removed it first, or it is not ours to remove.
    }
  }
#else
  static_cast<void>(folder);
#endif
}

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

}  // namespace refinestyle
