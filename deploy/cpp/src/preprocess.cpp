#include "preprocess.h"

#include <algorithm>

namespace deploy {
namespace {

void copy_row(const Byte* bgr, int count, bool as_rgb, Byte* out) {
    if (!as_rgb) {
        std::copy_n(bgr, 3 * size_t(count), out);
        return;
    }
    for (int x = 0; x < count; ++x, bgr += 3, out += 3) out[0] = bgr[2], out[1] = bgr[1], out[2] = bgr[0];
}

}  // namespace

using Kind = InputSpec::Kind;

void Preprocess::operator()(const Image& bgr, ov::InferRequest& request) {
    switch (spec_.kind) {
        case Kind::floats: return as_floats(bgr, request.get_input_tensor().data<float>());
        case Kind::pixels: return as_pixels(bgr, request.get_input_tensor().data<unsigned char>());
        case Kind::picture: return as_picture(bgr, request);
    }
}

/// The whole picture into `square_`.
void Preprocess::square(const Image& bgr) {
    if (spec_.pad) return pad(bgr);
    const bool shrinks = spec_.resize < std::max(bgr.rows, bgr.cols);
    resize_(bgr, spec_.resize, spec_.resize, shrinks ? Resizing::area : Resizing::linear, square_);
}

/// Its shorter side filled up with grey; rounded as in Python.
void Preprocess::pad(const Image& bgr) {
    long long size = spec_.resize, longer = std::max(bgr.rows, bgr.cols);
    auto fitted = [&](int side) { return std::max(1, int((2 * side * size + longer) / (2 * longer))); };
    resize_(bgr, fitted(bgr.rows), fitted(bgr.cols), size < longer ? Resizing::area : Resizing::linear, inner_);
    square_.create(spec_.resize, spec_.resize);
    square_.fill(grey_pixel(128));
    const int top = (spec_.resize - inner_.rows) / 2, left = (spec_.resize - inner_.cols) / 2;
    for (int y = 0; y < inner_.rows; ++y) copy_row(inner_.ptr(y), inner_.cols, false, square_.ptr(top + y, left));
}

const Byte* Preprocess::row_of_middle(int y) const {
    const int offset = (spec_.resize - spec_.image_size) / 2;
    return square_.ptr(offset + y, offset);
}

void Preprocess::as_floats(const Image& bgr, float* planes) {
    square(bgr);
    const int size = spec_.image_size;
    for (int c = 0; c < 3; ++c) {
        const auto factor = float(1 / spec_.scale[c]), offset = float(spec_.mean[c] / spec_.scale[c]);
        for (int y = 0; y < size; ++y, planes += size) {
            const Byte* row = row_of_middle(y) + (spec_.bgr ? c : 2 - c);
            for (int x = 0; x < size; ++x) planes[x] = float(row[3 * x]) * factor - offset;
        }
    }
}

void Preprocess::as_pixels(const Image& bgr, unsigned char* pixels) {
    square(bgr);
    for (int y = 0; y < spec_.image_size; ++y, pixels += 3 * spec_.image_size)
        copy_row(row_of_middle(y), spec_.image_size, !spec_.bgr, pixels);
}

void Preprocess::as_picture(const Image& bgr, ov::InferRequest& request) {
    if (!spec_.bgr) {
        rgb_.create(bgr.rows, bgr.cols);
        copy_row(bgr.data(), bgr.rows * bgr.cols, true, rgb_.data());
    }
    const Image& picture = spec_.bgr ? bgr : rgb_;
    ov::Shape shape{1, size_t(bgr.rows), size_t(bgr.cols), 3};
    request.set_input_tensor(ov::Tensor(ov::element::u8, shape, const_cast<Byte*>(picture.data())));  // it is only read
}

}  // namespace deploy
