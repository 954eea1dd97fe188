// A picture file -> pixels as a person would see it; the twin of data/decode.py.
#pragma once

#include <opencv2/core.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace deploy {

using Bytes = std::vector<unsigned char>;

/// There is no complete picture; what() says why.
struct PictureError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// The whole content of the file at `path`, into memory that is used again. Throws PictureError.
void read_file(const std::string& path, Bytes& content);

/// An encoded picture -> 8-bit BGR, continuous: turned as its EXIF tag says, see `to_bgr`. Throws PictureError.
void decode(const Bytes& content, cv::Mat& bgr);

/// Can `to_bgr` read pixels of this OpenCV type? 8 or 16 bits; grey, BGR or BGRA.
bool is_readable_type(int type);

/// Pixels of a readable type -> 8-bit BGR, perhaps the same memory: 16 bits scaled to 8, alpha laid over white.
void to_bgr(const cv::Mat& pixels, cv::Mat& bgr);

}  // namespace deploy
