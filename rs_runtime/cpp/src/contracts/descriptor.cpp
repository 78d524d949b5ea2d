#include "contracts/descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#if defined(_WIN32)
#include <io.h>
#else
#include <sys/file.h>
#include <unistd.h>
#endif

namespace refinestyle {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestStep = std::size_t{1} << 30;  // what every system reads at once

int checked(int result) {
  if (result < 0) throw std::system_error(errno, std::generic_category());
  return result;
}

#if defined(_WIN32)
using Stat = struct _stat64;
constexpr int kReadFlags = _O_RDONLY | _O_BINARY | _O_NOINHERIT;
constexpr int kCreateFlags = _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY | _O_NOINHERIT;

int sys_open(const fs::path& path, int flags) {
  return _wopen(path.c_str(), flags, _S_IREAD | _S_IWRITE);
}
int sys_stat(const fs::path& path, Stat* status) { return _wstat64(path.c_str(), status); }
int sys_fstat(int number, Stat* status) { return _fstat64(number, status); }
int sys_sync(int number) { return _commit(number); }
int sys_set_mode(int, unsigned) { return 0; }  // permissions are inherited from the folder
auto sys_read(int number, void* data, std::size_t size) {
  return _read(number, data, static_cast<unsigned>(size));
}
auto sys_write(int number, const void* data, std::size_t size) {
  return _write(number, data, static_cast<unsigned>(size));
}
int sys_close(int number) { return _close(number); }
#else
using Stat = struct stat;
constexpr int kReadFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
constexpr int kCreateFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;

int sys_open(const fs::path& path, int flags) { return ::open(path.c_str(), flags, 0666); }
int sys_stat(const fs::path& path, Stat* status) { return ::stat(path.c_str(), status); }
int sys_fstat(int number, Stat* status) { return ::fstat(number, status); }
int sys_sync(int number) { return ::fsync(number); }
int sys_set_mode(int number, unsigned mode) { return ::fchmod(number, mode); }
auto sys_read(int number, void* data, std::size_t size) { return ::read(number, data, size); }
auto sys_write(int number, const void* data, std::size_t size) {
  return ::write(number, data, size);
}
int sys_close(int number) { return ::close(number); }
#endif

FileKind kind_of(unsigned mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return FileKind::kRegular;
    case S_IFDIR:
      return FileKind::kFolder;
    case S_IFIFO:
      return FileKind::kFifo;
    case S_IFCHR:
#if !defined(_WIN32)
    case S_IFBLK:
#endif
      return FileKind::kDevice;
#if !defined(_WIN32)
    case S_IFSOCK:
      return FileKind::kSocket;
#endif
    default:
      return FileKind::kOther;
  }
}

FileStatus from_stat(const Stat& status) {
  const auto mode = static_cast<unsigned>(status.st_mode);
  return {kind_of(mode), static_cast<std::uint64_t>(status.st_size), mode & 07777u};
}

}  // namespace

fs::path to_path(const std::string& text) { return fs::u8path(text); }

std::string to_text(const fs::path& path) { return path.u8string(); }

Descriptor Descriptor::open(const fs::path& path) {
  return Descriptor(checked(sys_open(path, kReadFlags)));
}

Descriptor Descriptor::create(const fs::path& path) {
  return Descriptor(checked(sys_open(path, kCreateFlags)));
}

Descriptor::Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}

Descriptor::~Descriptor() { close(); }

void Descriptor::close() noexcept {
  if (number_ >= 0) sys_close(std::exchange(number_, -1));
}

FileStatus Descriptor::status() const {
  Stat status;
  checked(sys_fstat(number_, &status));
  return from_stat(status);
}

std::size_t Descriptor::read(std::uint8_t* data, std::size_t size) {
  for (;;) {
    const auto count = sys_read(number_, data, std::min(size, kLargestStep));
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno != EINTR) throw std::system_error(errno, std::generic_category());
  }
}

void Descriptor::write(const std::uint8_t* data, std::size_t size) {
  while (size > 0) {
    const auto count = sys_write(number_, data, std::min(size, kLargestStep));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw std::system_error(errno, std::generic_category());
    data += count;
    size -= static_cast<std::size_t>(count);
  }
}

void Descriptor::set_mode(unsigned mode) { checked(sys_set_mode(number_, mode)); }

void Descriptor::sync() { checked(sys_sync(number_)); }

FileStatus status_of(const fs::path& path) {
  Stat status;
  checked(sys_stat(path, &status));
  return from_stat(status);
}

#if defined(_WIN32)

bool Descriptor::try_lock() { return true; }

bool Descriptor::is_at(const fs::path& path) const { return fs::exists(path); }

bool is_writable(const fs::path& path) { return _waccess(path.c_str(), 2) == 0; }

void sync_folder(const fs::path&) {}  // folders cannot be opened there

#else

bool Descriptor::try_lock() {
  return ::flock(number_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

bool Descriptor::is_at(const fs::path& path) const {
  Stat own, there;
  return sys_fstat(number_, &own) == 0 && sys_stat(path, &there) == 0 &&
         own.st_dev == there.st_dev && own.st_ino == there.st_ino;
}

bool is_writable(const fs::path& path) { return ::access(path.c_str(), W_OK) == 0; }

void sync_folder(const fs::path& folder) {
  try {
    Descriptor::open(folder).sync();
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::invalid_argument) throw;  // some file systems cannot
  }
}

#endif

}  // namespace refinestyle
