// A bundle: a folder with graphs, domains, golden data and the manifest that vouches for them.
//
// Reading trusts the manifest's list only: the folder must hold exactly the listed files, and the
// bytes of a file are read once, compared with its SHA-256, and handed out. Engines get these
// bytes, never a path behind which a file could change.
#pragma once

#include <string>

#include "contracts/bytes.h"
#include "contracts/manifest.h"

namespace refinestyle {

class Bundle {
 public:
  // Reads the manifest, and compares names, kinds and sizes of all files with it.
  // trust: take the files' hashes on trust, for applications that verify the folder themselves.
  // Throws kUsage without such a folder, kMalformed for a damaged bundle, kUnsafe for links,
  // special files and paths that lead out, kIncompatible for a newer version.
  static Bundle open(const std::string& path, bool trust = false);

  // Returns the bytes of a listed file, checked against its size and SHA-256. Throws kUsage for a
  // file that is not listed, kMalformed for another content, kUnsafe for a link.
  Bytes read(const std::string& relpath) const;

  // Reads every file once and compares it with the manifest.
  void verify() const;

  const std::string& root() const { return root_; }
  const Manifest& manifest() const { return manifest_; }

 private:
  Bundle(std::string root, Manifest manifest, bool trusted);

  std::string root_;
  Manifest manifest_;
  bool trusted_;
};

}  // namespace refinestyle
