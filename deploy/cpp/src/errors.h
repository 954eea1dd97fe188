// Why a file is no picture, and the limit of pixels.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace deploy {

inline constexpr size_t MAX_PIXELS = 200'000'000;  // 600 MB of memory; the same in data/decode.py

/// There is no complete picture; what() says why.
struct PictureError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// "truncated or damaged (reason)".
PictureError damaged(const std::string& reason);

/// Throws PictureError for no pixels, and for more than `max_pixels`.
void check_size(size_t width, size_t height, size_t max_pixels);

}  // namespace deploy
