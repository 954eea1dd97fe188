// Class names on pictures. They were drawn beforehand (recipe/names_picture.py), so that no font is needed here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "image.h"
#include "resize.h"

namespace deploy {

/// Keeps its memory from picture to picture.
class Names {
  public:
    /// path: of names.png. Throws std::runtime_error if it is there, but not of `num_classes` classes.
    Names(const std::string& path, size_t num_classes);

    /// Name and percentage (if any) into the upper left corner. `name`: index of the class, or `num_classes` for "unknown". Draws
    /// nothing where there is no names.png.
    void draw(Image& picture, size_t name, std::optional<int> percent);

  private:
    std::vector<Image> cells_;  // red: how much of a pixel is letter, green: letter or rim
    size_t num_classes_;
    Image line_, scaled_;
    Resize resize_;
};

}  // namespace deploy
