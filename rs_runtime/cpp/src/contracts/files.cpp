#include "contracts/files.h"

#include <cerrno>
#include <optional>
#include <system_error>

#include "contracts/aside.h"
#include "contracts/descriptor.h"
#include "contracts/error.h"

namespace refinestyle {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLinks = 40;

void require_path(const std::string& path, const std::string& what) {
  if (path.empty() || path.find('\0') != path.npos) {
    throw Error(Status::kUsage, "'" + path + "' is not a path", "", "the path of a " + what);
  }
}

const char* name_of(FileKind kind) {
  switch (kind) {
    case FileKind::kFolder:
      return "a folder";
    case FileKind::kFifo:
      return "a FIFO";
    case FileKind::kSocket:
      return "a socket";
    case FileKind::kDevice:
      return "a device";
    default:
      return "a special file";
  }
}

void require_regular(const FileStatus& status, const std::string& path, const std::string& what) {
  if (status.kind == FileKind::kRegular) return;
  throw Error(Status::kMalformed, path + ": not a " + what, name_of(status.kind), "a regular file");
}

Error reading_failed(const std::error_code& code, const std::string& path,
                     const std::string& what) {
  if (code == std::errc::no_such_file_or_directory || code == std::errc::not_a_directory) {
    return {Status::kUsage, path + ": there is no such " + what, "", "", "check the path"};
  }
  const Status status = code == std::errc::io_error ? Status::kResource : Status::kUsage;
  return {status, path + ": the " + what + " cannot be read", code.message()};
}

Error writing_failed(const std::error_code& code, const std::string& path) {
  const char* hint = "choose a path that you may write to";
  if (code == std::errc::no_space_on_device)
    hint = "free some disk space and run the command again";
  if (code == std::errc::no_such_file_or_directory) {
    hint = "make the folder first, or choose another path";
  }
  if (code == std::errc::filename_too_long) hint = "choose a shorter name";
  return {Status::kResource, path + ": cannot be written", code.message(), "", hint};
}

Bytes read_to_end(Descriptor& file, const std::string& path, std::uint64_t max_bytes,
                  const std::string& what) {
  const FileStatus status = file.status();
  require_regular(status, path, what);
  if (status.size > max_bytes) {
    throw Error(Status::kUnsafe, path + ": too large for a " + what,
                std::to_string(status.size) + " bytes", "at most " + std::to_string(max_bytes));
  }
  Bytes data(static_cast<std::size_t>(status.size) + 1);  // one more: a growing file is noticed
  std::size_t size = 0;
  while (size < data.size()) {
    const std::size_t count = file.read(data.data() + size, data.size() - size);
    if (count == 0) break;
    size += count;
  }
  if (size != status.size) {
    throw Error(Status::kMalformed, path + ": the " + what + " changed while it was read",
                (size > status.size ? "more" : std::to_string(size)) + " bytes",
                std::to_string(status.size),
                "wait until it is complete, then run the command again");
  }
  data.resize(size);
  return data;
}

// The file that would be replaced: what a symbolic link points to, there or not.
fs::path resolve_links(fs::path path) {
  for (int i = 0; i < kMaxLinks && fs::is_symlink(path); ++i) {
    path = path.parent_path() / fs::read_symlink(path);
  }
  return path;
}

// Permissions of the file to replace, none when there is no such file.
std::optional<unsigned> replaceable_mode(const fs::path& target, const std::string& path) {
  if (!fs::exists(target)) return std::nullopt;
  const FileStatus status = status_of(target);
  if (status.kind != FileKind::kRegular) {
    throw Error(Status::kUsage,
                path + ": not written, something other than a regular file is there", "", "",
                "choose another path");
  }
  if (!is_writable(target)) throw std::system_error(EACCES, std::generic_category());
  return status.mode;
}

void write_aside_and_rename(const std::string& path, ByteView data) {
  const fs::path target = resolve_links(to_path(path));
  const std::optional<unsigned> mode = replaceable_mode(target, path);
  sweep_leftovers(folder_of(target));
  Aside aside(target);
  aside.file().write(data.data, data.size);
  if (mode) aside.file().set_mode(*mode);
  aside.file().sync();
  aside.rename_to(target);
  sync_folder(folder_of(target));
}

}  // namespace

Bytes read_file(const std::string& path, std::uint64_t max_bytes, const std::string& what) {
  require_path(path, what);
  try {
    // A device may act on being opened, so the kind is asked first, and again of what was opened.
    require_regular(status_of(to_path(path)), path, what);
    Descriptor file = Descriptor::open(to_path(path));
    return read_to_end(file, path, max_bytes, what);
  } catch (const std::system_error& error) {
    throw reading_failed(error.code(), path, what);
  }
}

void write_atomic(const std::string& path, ByteView data) {
  require_path(path, "file to write");
  try {
    write_aside_and_rename(path, data);
  } catch (const std::system_error& error) {
    throw writing_failed(error.code(), path);
  }
}

}  // namespace refinestyle
