#include "errors.h"

#include <sstream>

namespace deploy {

PictureError damaged(const std::string& reason) { return PictureError("truncated or damaged (" + reason + ")"); }

void check_size(size_t width, size_t height, size_t max_pixels, size_t bytes) {
    if (width == 0 || height == 0) throw damaged("no pixels");
    std::ostringstream message;
    message.imbue(std::locale::classic());
    message << width << " x " << height << " pixels, ";
    if (width > max_pixels / height)
        message << "more than the " << max_pixels / 1e6 << " million that are allowed (max_pixels)";
    else if (width * height > MAX_MEMORY / bytes)
        message << "which in this kind of file take " << bytes << " bytes each while they are decoded, together more than 1.2 GB: convert it to a "
                << "plain JPEG or PNG";
    else
        return;
    throw PictureError(message.str());
}

}  // namespace deploy
