// JPEG by libjpeg-turbo itself: the same pixels as through OpenCV, which takes more than twice as long for them.
#pragma once

#include "picture.h"

namespace deploy {

/// A JPEG, not turned -> 8-bit BGR. False if it is a CMYK one, which is left to OpenCV. Throws PictureError.
bool decode_jpeg(const Bytes& content, cv::Mat& bgr);

}  // namespace deploy
