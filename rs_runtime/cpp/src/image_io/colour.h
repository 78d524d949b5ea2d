// Colours as they are stored to sRGB.
#pragma once

#include "image_io/decoded.h"

namespace refinestyle {

// Converts by the embedded profile; a damaged one, or one of other colours than the picture's, is
// ignored. Built without lcms2 it throws kResource for a picture that needs its profile: wrong
// colours would go unnoticed.
Picture to_srgb(DecodedPicture picture, const std::string& name);

}  // namespace refinestyle
