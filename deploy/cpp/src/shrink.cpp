#include "shrink.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace deploy {
namespace {

/// To the nearest whole number, halves to the even one: beyond 2^23, floats have no fraction to keep.
Byte to_byte(float value) {
    const float no_fraction = 3 << 22;
    return Byte(std::min(value + no_fraction - no_fraction, 255.0f));
}

/// As OpenCV computes it, rounding included.
double scale_of(int from_size, int to_size) { return 1 / (double(to_size) / from_size); }

bool is_whole(double scale) { return std::abs(scale - std::nearbyint(scale)) < std::numeric_limits<double>::epsilon(); }

}  // namespace

// The order of additions and products is OpenCV's: floats that are added in another order round means of half a grey level otherwise.
void Shrink::operator()(const Image& in, int rows, int cols, Image& out) {
    out.create(rows, cols);
    const double down = scale_of(in.rows, rows), across = scale_of(in.cols, cols);
    if (is_whole(down) && is_whole(across)) return average_blocks(in, int(std::nearbyint(down)), int(std::nearbyint(across)), out);
    cover(in.rows, rows, row_shares_);
    cover(in.cols, cols, column_shares_);
    average_areas(in, out);
}

/// OpenCV's computeResizeAreaTab.
void Shrink::cover(int from_size, int to_size, std::vector<Share>& shares) {
    const double scale = scale_of(from_size, to_size), least = 1e-3;  // smaller shares are left out
    shares.clear();
    for (int to = 0; to < to_size; ++to) {
        double start = to * scale, end = start + scale, width = std::min(scale, from_size - start);
        int last = std::min(int(std::floor(end)), from_size - 1), first = std::min(int(std::ceil(start)), last);
        if (first - start > least) shares.push_back({first - 1, to, float((first - start) / width)});
        for (int from = first; from < last; ++from) shares.push_back({from, to, float(1 / width)});
        if (end - last > least) shares.push_back({last, to, float(std::min({end - last, 1.0, width}) / width)});
    }
}

void Shrink::average_areas(const Image& in, Image& out) {
    across_.resize(out.cols);
    sums_.assign(out.cols, Colors{});
    int added = -1;  // the source row that lies in `across_`
    for (auto share = row_shares_.begin(); share != row_shares_.end(); ++share) {
        if (share->from != added) add_columns(in.ptr(share->from));
        added = share->from;
        for (int x = 0; x < out.cols; ++x) sums_[x].values += across_[x].values * share->weight;
        auto next = share + 1;
        if (next != row_shares_.end() && next->to == share->to) continue;
        Byte* pixel = out.ptr(share->to);
        for (int x = 0; x < out.cols; ++x, pixel += 3)
            for (int c = 0; c < 3; ++c) pixel[c] = to_byte(sums_[x].values[c]);
        std::fill(sums_.begin(), sums_.end(), Colors{});
    }
}

void Shrink::add_columns(const Byte* row) {
    using FourBytes = Byte __attribute__((vector_size(4)));
    auto share = column_shares_.begin();
    for (size_t to = 0; to < across_.size(); ++to) {
        Vector sum{};
        for (; share != column_shares_.end() && share->to == int(to); ++share) {
            FourBytes pixel;  // and one byte of the next, see Image::create
            std::memcpy(&pixel, row + 3 * share->from, 4);
            sum += __builtin_convertvector(pixel, Vector) * share->weight;
        }
        across_[to].values = sum;
    }
}

/// Of whole pixels, block_rows x block_cols.
void Shrink::average_blocks(const Image& in, int block_rows, int block_cols, Image& out) {
    const bool of_four = block_rows == 2 && block_cols == 2;  // in whole numbers, halves up
    const float weight = 1 / float(block_rows * block_cols);
    columns_.resize(size_t(in.cols) * 3);
    for (int y = 0; y < out.rows; ++y) {
        std::fill(columns_.begin(), columns_.end(), 0);
        for (int i = 0; i < block_rows; ++i) {
            const Byte* row = in.ptr(y * block_rows + i);
            for (size_t x = 0; x < columns_.size(); ++x) columns_[x] += row[x];
        }
        const unsigned* column = columns_.data();
        Byte* pixel = out.ptr(y);
        for (int x = 0; x < out.cols; ++x, column += 3 * block_cols, pixel += 3)
            for (int c = 0; c < 3; ++c) {
                unsigned sum = 0;
                for (int i = 0; i < block_cols; ++i) sum += column[3 * i + c];
                pixel[c] = of_four ? Byte((sum + 2) >> 2) : to_byte(float(sum) * weight);
            }
    }
}

}  // namespace deploy
