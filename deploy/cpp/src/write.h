// Pixels -> an encoded picture.
#pragma once

#include <opencv2/core.hpp>
#include <string>

#include "bytes.h"

namespace deploy {

/// 8-bit BGR as the format that `suffix` names: .jpg or .jpeg (quality 95) or .png. Throws std::runtime_error for others.
Bytes encode(const std::string& suffix, const cv::Mat& bgr);

}  // namespace deploy
