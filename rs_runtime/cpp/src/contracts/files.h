// Reading and writing files so that nothing hangs, nothing is trusted and nothing old is lost.
//
// Paths are UTF-8. Reading: only regular files, never more than a stated size, the whole file once.
// Writing: aside in the same folder, flushed to disk, renamed.
#pragma once

#include <cstdint>
#include <string>

#include "contracts/bytes.h"

namespace refinestyle {

// Reads a whole regular file; symbolic links are followed. `what` names its kind: "token set".
// Throws kUsage without such a path or permission, kMalformed for a folder, FIFO, socket or device
// and for a file that changes meanwhile, kUnsafe beyond max_bytes, kResource when the disk fails.
Bytes read_file(const std::string& path, std::uint64_t max_bytes, const std::string& what);

// Writes a file completely or not at all; a symbolic link is respected, and an existing file keeps
// its permissions. Throws kUsage for something other than a regular file there, kResource when it
// cannot be written; the old file is then unchanged.
void write_atomic(const std::string& path, ByteView data);

}  // namespace refinestyle
