// Pixels -> an encoded picture.
#pragma once

#include <string>

#include "bytes.h"
#include "image.h"

namespace deploy {

/// 8-bit BGR as the format that `suffix` names: .jpg or .jpeg (quality 95) or .png. Throws std::runtime_error for others.
Bytes encode(const std::string& suffix, const Image& bgr);

}  // namespace deploy
