// consumer BUNDLE PHOTO OUT: what docs/embed-cpp.md begins with.
#include <iostream>
#include <refinestyle/refinestyle.hpp>

int main(int, char** arguments) {
  const refinestyle::Runtime runtime(arguments[1]);
  const auto portrait = runtime.invert(refinestyle::Image::read(arguments[2]));
  portrait.synthesize({runtime.domain("sketch=0.8")}).write_png(arguments[3]);
  std::cout << refinestyle_version() << '\n';
}
