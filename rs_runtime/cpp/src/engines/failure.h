// How an engine's own failures become errors of ours.
#pragma once

#include <string>

#include "contracts/error.h"

namespace refinestyle {

// A library's text in one line of at most 300 bytes, without the paths of who built it.
std::string one_line(const std::string& text);

// The error of a call into an engine that failed: kResource when memory ran out, else
// kIncompatible.
Error engine_failed(const std::string& what, const std::string& text, const std::string& hint);

// The error of inputs that are not those of the graph.
Error wrong_inputs(const std::string& label, const std::string& found, const std::string& expected);

}  // namespace refinestyle
