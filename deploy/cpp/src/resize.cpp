#include "resize.h"

#include <algorithm>
#include <cmath>

namespace deploy {
namespace {

const int ONE = 2048;  // OpenCV's weights of bytes are whole numbers of 1/2048

}  // namespace

void Resize::operator()(const Image& in, int rows, int cols, Resizing resizing, Image& out) {
    if (resizing == Resizing::area && rows <= in.rows && cols <= in.cols) return shrink_(in, rows, cols, out);
    // OpenCV averages no areas once one side grows, but blends by another rule.
    place_taps(in.rows, rows, resizing, rows_);
    place_taps(in.cols, cols, resizing, columns_);
    out.create(rows, cols);
    blend(in, out);
}

void Resize::place_taps(int from_size, int to_size, Resizing resizing, std::vector<Tap>& taps) {
    const double inverse = double(to_size) / from_size, scale = 1 / inverse;
    auto inside = [&](int source) { return std::clamp(source, 0, from_size - 1); };
    taps.clear();
    for (int to = 0; to < to_size; ++to) {
        int source;
        float rest;
        if (resizing == Resizing::area) {
            source = int(std::floor(to * scale));
            rest = float(to + 1 - (source + 1) * inverse);
            rest = rest <= 0 ? 0 : rest - std::floor(rest);
        } else {
            float centre = float((to + 0.5) * scale - 0.5);
            source = int(std::floor(centre));
            rest = centre - float(source);
        }
        auto weight = [](float share) { return int(std::nearbyint(share * ONE)); };
        taps.push_back({inside(source), inside(source + 1), {weight(1 - rest), weight(rest)}});
    }
}

/// Along columns, then between two rows, in whole numbers.
void Resize::blend(const Image& in, Image& out) {
    for (auto& row : blended_) row.source = -1;
    for (int y = 0; y < out.rows; ++y) {
        const Tap& tap = rows_[y];
        const int* above = blend_columns(in, tap.source, tap.next).values.data();
        const int* below = blend_columns(in, tap.next, tap.source).values.data();
        Byte* pixels = out.ptr(y);
        for (int i = 0; i < 3 * out.cols; ++i)
            pixels[i] = Byte(((tap.weights[0] * (above[i] >> 4) >> 16) + (tap.weights[1] * (below[i] >> 4) >> 16) + 2) >> 2);
    }
}

/// One of the two rows that lie in memory, not that of `keep`.
Resize::Row& Resize::blend_columns(const Image& in, int source, int keep) {
    for (auto& row : blended_)
        if (row.source == source) return row;
    Row& row = blended_[0].source == keep ? blended_[1] : blended_[0];
    row.source = source;
    row.values.resize(columns_.size() * 3);
    int* value = row.values.data();
    for (const Tap& tap : columns_) {
        const Byte *left = in.ptr(source, tap.source), *right = in.ptr(source, tap.next);
        for (int c = 0; c < 3; ++c) *value++ = tap.weights[0] * left[c] + tap.weights[1] * right[c];
    }
    return row;
}

}  // namespace deploy
