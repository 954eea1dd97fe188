#include "names.h"

#include <filesystem>
#include <stdexcept>

#include "picture.h"

namespace deploy {
namespace {

const size_t PERCENTAGES = 101;  // 0 % ... 100 %
enum Channel { RIM = 1, LETTER = 2 };

/// Columns up to the last one that is not empty.
int width_of(const Image& sheet, int top, int height) {
    for (int width = sheet.cols; width > 1; --width)
        for (int y = top; y < top + height; ++y)
            if (sheet.at(y, width - 1)[RIM]) return width;
    return 1;
}

Image cut(const Image& sheet, int top, int height) {
    Image cell;
    cell.create(height, width_of(sheet, top, height));
    for (int y = 0; y < height; ++y) std::copy_n(sheet.ptr(top + y), 3 * size_t(cell.cols), cell.ptr(y));
    return cell;
}

Byte mixed(unsigned from, unsigned to, unsigned share) { return Byte((from * (255 - share) + to * share + 127) / 255); }

}  // namespace

Names::Names(const std::string& path, size_t num_classes) : num_classes_(num_classes) {
    if (!std::filesystem::exists(path)) return;
    Bytes content;
    Image sheet;
    const size_t num_cells = num_classes + 1 + PERCENTAGES;
    try {
        read_file(path, content);
        decode(content, sheet);
        if (sheet.rows % num_cells != 0) throw PictureError("not of this network's " + std::to_string(num_classes) + " classes");
    } catch (const PictureError& error) {
        throw std::runtime_error(path + ": " + error.what() + ". Make the submission again.");
    }
    const int height = sheet.rows / int(num_cells);
    for (size_t i = 0; i < num_cells; ++i) cells_.push_back(cut(sheet, int(i) * height, height));
}

void Names::draw(Image& picture, size_t name, std::optional<int> percent) {
    if (cells_.empty()) return;
    const Image none, &text = cells_[name], &number = percent ? cells_[num_classes_ + 1 + *percent] : none;
    line_.create(text.rows, text.cols + number.cols);
    for (int y = 0; y < line_.rows; ++y) {
        std::copy_n(text.ptr(y), 3 * size_t(text.cols), line_.ptr(y));
        std::copy_n(number.ptr(y), 3 * size_t(number.cols), line_.ptr(y, text.cols));
    }
    // A twelfth of the picture's shorter side, less where the line is too long.
    const int side = std::min(picture.rows, picture.cols), margin = side / 50;
    double scale = std::max(12, side / 12) / double(line_.rows);
    scale = std::min(scale, double(picture.cols - 2 * margin) / line_.cols);
    const int rows = std::max(1, int(line_.rows * scale)), cols = std::max(1, int(line_.cols * scale));
    resize_(line_, rows, cols, scale < 1 ? Resizing::area : Resizing::linear, scaled_);
    for (int y = 0; y < std::min(rows, picture.rows - margin); ++y)
        for (int x = 0; x < std::min(cols, picture.cols - margin); ++x)
            for (Byte& value : picture.at(margin + y, margin + x))
                value = mixed(mixed(value, 0, scaled_.at(y, x)[RIM]), 255, scaled_.at(y, x)[LETTER]);
}

}  // namespace deploy
