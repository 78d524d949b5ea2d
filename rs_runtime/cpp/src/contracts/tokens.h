// Token sets: what refines a generator for one picture or moves it into a domain, and their file.
//
// A set holds up to four groups, at least one: P [L, Cout] with Q [L, Cin], the factors of the
// residual dW = P^T Q of a convolution (Eq. 3) with the scales of Eq. 4 folded in; style_offset
// [Cin], added to the style; modulation [Cin], multiplied onto the input; and in image sets w_plus.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "contracts/bytes.h"
#include "contracts/layers.h"

namespace refinestyle {

// Floats in row-major order.
struct Array {
  std::vector<std::size_t> shape;
  std::vector<float> values;
};

enum class TokenKind { kImage, kDomain };
enum class TokenDtype { kF16, kF32 };

struct TokenSet {
  TokenKind kind = TokenKind::kDomain;
  std::string name;                           // a label, never a path; see clean_name
  std::map<std::string, Array> P, Q;          // by convolution: [L, Cout], [L, Cin]
  std::map<std::string, Array> style_offset;  // by layer: [Cin]
  std::map<std::string, Array> modulation;    // by convolution: [Cin], 1 changes nothing
  std::optional<Array> w_plus;                // [num_ws, w_dim] of an image set
  std::string source;                         // prompt, or hash of the picture or references
  std::string licence;                        // SPDX name or a sentence
  std::string fingerprint;                    // of the generator it was made for
  std::string table_hash;                     // LayerTable::hash of that generator
  TokenDtype dtype = TokenDtype::kF32;        // how values are stored in a file

  std::size_t rank() const;  // largest L over the layers; 0 without P and Q
};

// What a token set is read for. The default checks the file alone.
struct TokenReader {
  const LayerTable* table = nullptr;  // the layers it must fit
  std::string fingerprint;            // the generator it must be made for; empty: any
  bool allow_foreign = false;         // accept another generator's set whose shapes fit the table

  // Throws kMalformed for a file that is damaged, changed or against a rule, kIncompatible for a
  // newer format, another generator, or shapes that do not fit.
  TokenSet decode(ByteView data, const std::string& name) const;

  // Also throws kUsage for a path without a readable file, kUnsafe for a file that is too large.
  TokenSet read(const std::string& path) const;
};

// Returns the file of a token set; equal sets give equal bytes, those that Python writes.
// Throws kUsage for a field that breaks a rule, kNumerics for a value that is not finite or does
// not fit the dtype.
Bytes encode_token_set(const TokenSet& token_set);

// Writes a token set's file completely or not at all.
void write_token_set(const std::string& path, const TokenSet& token_set);

}  // namespace refinestyle
