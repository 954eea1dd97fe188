// The EXIF orientation of JPEG, PNG and WebP files. (OpenCV turns TIFF files by itself, and others have none.)
#pragma once

#include <opencv2/core.hpp>
#include <vector>

namespace deploy {

/// 1..8 as EXIF numbers them; 1 (upright) for other files, and where a file says nothing or nonsense.
int exif_orientation(const std::vector<unsigned char>& content);

/// Turn and mirror `pixels` so that a picture with this EXIF orientation stands upright.
void turn(cv::Mat& pixels, int orientation);

}  // namespace deploy
