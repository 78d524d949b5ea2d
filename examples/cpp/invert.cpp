// Inverts a photo and draws it again, in a mix of domains or as it is.
//
//     invert photo.jpg --domain sketch.tokens
//     invert photo.jpg --domain sketch=0.6 --domain oil=0.4 --out mixed.png
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <refinestyle/refinestyle.hpp>
#include <string>
#include <vector>

namespace {

constexpr int kUsage = REFINESTYLE_USAGE;
constexpr const char* kHelp =
    "usage: invert PHOTO [--domain NAME|FILE[=STRENGTH]]... [--out FILE.png]\n"
    "              [--bundle FOLDER] [--provider NAME] [--onnxruntime LIBRARY] [--threads N]\n";

struct Arguments {
  std::string photo, out, bundle = DEMO_BUNDLE;
  std::vector<std::string> domains;
  refinestyle::Options options;
};

// Gives false for what is no call of this program.
bool parse(const std::vector<std::string>& words, Arguments& arguments) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].rfind("--", 0) != 0) {
      if (!arguments.photo.empty()) return false;
      arguments.photo = words[i];
      continue;
    }
    if (i + 1 == words.size()) return false;
    const std::string& value = words[i + 1];
    if (words[i] == "--domain") {
      arguments.domains.push_back(value);
    } else if (words[i] == "--out") {
      arguments.out = value;
    } else if (words[i] == "--bundle") {
      arguments.bundle = value;
    } else if (words[i] == "--provider") {
      arguments.options.provider = value;
    } else if (words[i] == "--onnxruntime") {
      arguments.options.onnxruntime = value;
    } else if (words[i] == "--threads") {
      arguments.options.threads = std::atoi(value.c_str());
    } else {
      return false;
    }
    ++i;
  }
  return !arguments.photo.empty();
}

// "photo.sketch.png" beside the photo.
std::string beside(const std::string& photo, const refinestyle::Mix& mix) {
  std::string label;
  for (const refinestyle::Domain& domain : mix.domains) {
    label += (label.empty() ? "" : "+") + domain.name();
  }
  const std::filesystem::path path(photo);
  const std::string name = path.stem().string() + "." + (label.empty() ? "inverted" : label);
  return (path.parent_path() / (name + ".png")).string();
}

void run(const Arguments& arguments) {
  const refinestyle::Runtime runtime(arguments.bundle, arguments.options);
  refinestyle::Mix mix;
  for (const std::string& text : arguments.domains) mix.domains.push_back(runtime.domain(text));

  const auto portrait = runtime.invert(refinestyle::Image::read(arguments.photo));
  const std::string out = arguments.out.empty() ? beside(arguments.photo, mix) : arguments.out;
  portrait.synthesize(mix).write_png(out);

  if (portrait.reconstruction_errors().front() > runtime.error_limit()) {
    std::fputs("warning: this bundle knows another kind of picture\n", stderr);
  }
  std::printf("provider: %s\nwrote %s\n", runtime.provider().c_str(), out.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse({argv + 1, argv + argc}, arguments)) {
    std::fputs(kHelp, stderr);
    return kUsage;
  }
  try {
    run(arguments);
  } catch (const refinestyle::Failure& failure) {
    std::fprintf(stderr, "error: %s\n", failure.what());
    return failure.status();
  }
  return REFINESTYLE_OK;
}
