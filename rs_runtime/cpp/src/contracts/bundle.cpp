#include "contracts/bundle.h"

#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "contracts/descriptor.h"
#include "contracts/error.h"
#include "contracts/files.h"
#include "contracts/sha256.h"

namespace refinestyle {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxManifestBytes = 4'000'000;
constexpr char kRepair[] = "the bundle is damaged; get it again or export it again";

Error is_link(const std::string& path) {
  return {Status::kUnsafe, path + ": a symbolic link in a bundle", "", "regular files",
          "copy the bundle with its links resolved: cp -rL"};
}

Error is_extra(const std::string& path) {
  return {Status::kMalformed, path + ": not listed in the bundle's manifest", "", "",
          "remove it from the bundle's folder"};
}

Error wrong_size(const std::string& path, std::uint64_t size, const FileEntry& entry) {
  return {Status::kMalformed, path + ": wrong size", std::to_string(size) + " bytes",
          std::to_string(entry.size), kRepair};
}

void refuse_links(const std::string& root, const std::string& relpath) {
  for (std::size_t end = 0; end != relpath.npos;) {
    end = relpath.find('/', end + 1);
    const std::string path = root + "/" + relpath.substr(0, end);
    if (fs::is_symlink(to_path(path))) throw is_link(path);
  }
}

// Compares what a folder holds with the manifest's list.
class FolderCheck {
 public:
  FolderCheck(const std::string& root, const std::map<std::string, FileEntry>& files)
      : root_(root), files_(files), folders_(folders_of(files)) {}

  void run() {
    walk("");
    for (const auto& [relpath, entry] : files_) {
      const std::string path = root_ + "/" + relpath;
      const auto found = sizes_.find(relpath);
      if (found == sizes_.end()) {
        throw Error(Status::kMalformed, path + ": a file of the bundle is missing", "", "",
                    kRepair);
      }
      if (found->second != entry.size) throw wrong_size(path, found->second, entry);
    }
  }

 private:
  // Enters listed folders only, so that nothing deep is followed.
  void walk(const std::string& inside) {
    for (const fs::directory_entry& entry : fs::directory_iterator(to_path(root_ + "/" + inside))) {
      const std::string name = to_text(entry.path().filename());
      const std::string relpath = inside.empty() ? name : inside + "/" + name;
      const std::string path = root_ + "/" + relpath;
      const fs::file_status status = entry.symlink_status();
      if (fs::is_symlink(status)) throw is_link(path);
      if (fs::is_directory(status)) {
        if (folders_.count(relpath) == 0) throw is_extra(path);
        walk(relpath);
      } else if (!fs::is_regular_file(status)) {
        throw Error(Status::kUnsafe, path + ": a special file in a bundle", "", "regular files");
      } else if (files_.count(relpath) != 0) {
        sizes_[relpath] = entry.file_size();
      } else if (relpath != kManifestName) {
        throw is_extra(path);
      }
    }
  }

  const std::string& root_;
  const std::map<std::string, FileEntry>& files_;
  const std::set<std::string> folders_;
  std::map<std::string, std::uint64_t> sizes_;
};

void require_folder(const std::string& root) {
  std::error_code ignored;
  const bool is_path = !root.empty() && root.find('\0') == root.npos;
  if (is_path && fs::is_directory(to_path(root), ignored)) return;
  const bool is_file = is_path && fs::is_regular_file(to_path(root), ignored);
  throw Error(Status::kUsage, root + (is_file ? ": not a folder" : ": there is no such folder"), "",
              "the folder of a bundle");
}

Error cannot_be_read(const std::string& path, const std::error_code& code) {
  return {Status::kUsage, path + ": the bundle cannot be read", code.message()};
}

// Where the manifest says what must be there, another size or no file is damage.
Bytes read_listed(const std::string& root, const std::string& relpath, const FileEntry& entry) {
  const std::string path = root + "/" + relpath;
  try {
    refuse_links(root, relpath);
  } catch (const fs::filesystem_error& error) {
    throw cannot_be_read(path, error.code());
  }
  try {
    return read_file(path, entry.size, "file of the bundle");
  } catch (const Error& error) {
    if (error.status == Status::kUnsafe) {
      std::error_code ignored;
      throw wrong_size(path, fs::file_size(to_path(path), ignored), entry);
    }
    if (error.status != Status::kUsage) throw;
    throw Error(Status::kMalformed, path + ": a file of the bundle cannot be read",
                error.found.empty() ? "missing" : error.found, "", kRepair);
  }
}

}  // namespace

Bundle::Bundle(std::string root, Manifest manifest, bool trusted)
    : root_(std::move(root)), manifest_(std::move(manifest)), trusted_(trusted) {}

Bundle Bundle::open(const std::string& path, bool trust) {
  require_folder(path);
  try {
    const std::string manifest_path = path + "/" + kManifestName;
    if (!fs::exists(fs::symlink_status(to_path(manifest_path)))) {
      throw Error(Status::kMalformed, path + ": not a bundle", "",
                  std::string("a ") + kManifestName + " in it");
    }
    refuse_links(path, kManifestName);
    const Bytes data = read_file(manifest_path, kMaxManifestBytes, "manifest");
    Bundle bundle(path, Manifest::from_json(ByteView(data).text(), manifest_path), trust);
    FolderCheck(bundle.root_, bundle.manifest_.files).run();
    return bundle;
  } catch (const fs::filesystem_error& error) {
    throw cannot_be_read(path, error.code());
  }
}

Bytes Bundle::read(const std::string& relpath) const {
  const auto listed = manifest_.files.find(relpath);
  if (listed == manifest_.files.end()) {
    throw Error(Status::kUsage, root_ + ": the bundle has no file " + relpath);
  }
  const FileEntry& entry = listed->second;
  const std::string path = root_ + "/" + relpath;
  Bytes data = read_listed(root_, relpath, entry);
  if (data.size() != entry.size) throw wrong_size(path, data.size(), entry);
  if (trusted_) return data;
  const std::string digest = sha256_hex(data);
  if (digest != entry.sha256) {
    throw Error(Status::kMalformed, path + ": not the file that the manifest lists",
                "SHA-256 " + digest.substr(0, 16) + "…", entry.sha256.substr(0, 16) + "…", kRepair);
  }
  return data;
}

void Bundle::verify() const {
  for (const auto& file : manifest_.files) read(file.first);
}

}  // namespace refinestyle
