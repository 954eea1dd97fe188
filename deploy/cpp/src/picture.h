// A picture file -> pixels as a person would see it; the twin of data/decode.py, which says what counts as a picture.
#pragma once

#include <string>

#include "bytes.h"
#include "errors.h"
#include "image.h"

namespace deploy {

/// The whole content of the regular file at `path`, into memory that is used again. Throws PictureError.
void read_file(const std::string& path, Bytes& content);

inline constexpr size_t OWN_SIZE = SIZE_MAX;

/// An encoded picture -> 8-bit BGR, continuous: turned as its EXIF tag says, alpha laid over white, 16 bits scaled to 8.
/// Throws PictureError, also for more than `max_pixels` pixels, which are counted before anything is decoded.
/// at_least: the sides that a JPEG must keep, in pixels: it may be decoded at a smaller scale, see data/decode.py.
/// Returns whether it was.
bool decode(const Bytes& content, Image& bgr, size_t max_pixels = MAX_PIXELS, size_t at_least = OWN_SIZE);

/// Pixels of somebody else's, in the fields of a cv::Mat.
struct Frame {
    int rows, cols, type;  // type: OpenCV's number, depth + 8 * (channels - 1)
    const void* data;
    size_t step;  // bytes from row to row

    int channels() const { return type / 8 + 1; }
    int bytes_per_value() const { return type % 8 == 0 ? 1 : type % 8 == 2 ? 2 : 0; }  // of CV_8U, CV_16U; 0: of another depth
    size_t bytes_per_pixel() const { return size_t(bytes_per_value()) * channels(); }
};

inline const int BGR_TYPE = 16;  // OpenCV's CV_8UC3

/// Can `to_bgr` read pixels of this OpenCV type? 8 or 16 bits; grey, BGR or BGRA.
bool is_readable_type(int type);

/// Pixels of a readable type -> 8-bit BGR in memory of its own: 16 bits scaled to 8, alpha laid over white.
void to_bgr(const Frame& frame, Image& bgr);

}  // namespace deploy
