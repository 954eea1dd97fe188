// Why a file is no picture, and what one may cost; the same in data/decode.py.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace deploy {

inline constexpr size_t MAX_PIXELS = 200'000'000;    // 600 MB
inline constexpr size_t MAX_MEMORY = 1'200'000'000;  // bytes of a picture while it is decoded

/// There is no complete picture; what() says why.
struct PictureError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// "truncated or damaged (reason)".
PictureError damaged(const std::string& reason);

/// Throws PictureError for no pixels, for more than `max_pixels`, and for more than MAX_MEMORY. bytes: of memory that a pixel takes while
/// it is decoded, 3 of the picture and what the decoder keeps until it has seen the last one.
void check_size(size_t width, size_t height, size_t max_pixels, size_t bytes = 3);

}  // namespace deploy
