// An open file, and what POSIX and Windows call differently about one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace refinestyle {

// UTF-8 from and to the system's form of a path.
std::filesystem::path to_path(const std::string& text);
std::string to_text(const std::filesystem::path& path);

enum class FileKind { kRegular, kFolder, kFifo, kSocket, kDevice, kOther };

struct FileStatus {
  FileKind kind;
  std::uint64_t size;  // bytes
  unsigned mode;       // permission bits
};

// Every call throws std::system_error when the system refuses it.
class Descriptor {
 public:
  // For reading. Does not wait for a FIFO's writer.
  static Descriptor open(const std::filesystem::path& path);
  // For writing. Fails when something is there.
  static Descriptor create(const std::filesystem::path& path);

  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor();

  FileStatus status() const;
  std::size_t read(std::uint8_t* data, std::size_t size);  // 0 at the end
  void write(const std::uint8_t* data, std::size_t size);  // all of it
  void set_mode(unsigned mode);
  void sync();  // to disk
  void close() noexcept;

  // Takes the lock that marks an unfinished file as alive; false when another process has it. True
  // where the system or the file system has no such locks.
  bool try_lock();

  // Whether the path still names this very file.
  bool is_at(const std::filesystem::path& path) const;

 private:
  explicit Descriptor(int number) : number_(number) {}
  int number_;
};

// Symbolic links are followed.
FileStatus status_of(const std::filesystem::path& path);
bool is_writable(const std::filesystem::path& path);
// Flushes the names in a folder to disk, so that a rename there survives a power cut.
void sync_folder(const std::filesystem::path& folder);

}  // namespace refinestyle
