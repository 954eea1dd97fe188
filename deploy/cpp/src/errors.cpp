#include "errors.h"

#include <sstream>

namespace deploy {

PictureError damaged(const std::string& reason) { return PictureError("truncated or damaged (" + reason + ")"); }

void check_size(size_t width, size_t height, size_t max_pixels) {
    if (width == 0 || height == 0) throw damaged("no pixels");
    if (width <= max_pixels / height) return;
    std::ostringstream message;
    message.imbue(std::locale::classic());
    message << width << " x " << height << " pixels, more than the " << max_pixels / 1e6 << " million that are allowed (max_pixels)";
    throw PictureError(message.str());
}

}  // namespace deploy
