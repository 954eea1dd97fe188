#include "shrink.h"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

namespace deploy {
namespace {

// Compiled twice; the processor in use decides which one runs, before ThreadSanitizer is ready for it.
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
__attribute__((target_clones("avx2", "default")))
#endif
void add_row(const unsigned char* __restrict pixels, float weight, float* __restrict row, int count) {
    for (int i = 0; i < count; ++i) row[i] += weight * pixels[i];
}

}  // namespace

void Shrink::operator()(const cv::Mat& pixels, int size, cv::Mat& out) {
    bool whole_numbers = pixels.rows % size == 0 && pixels.cols % size == 0;
    if (pixels.rows < size || pixels.cols < size || whole_numbers)  // OpenCV does the second just as fast, and rounds it otherwise
        return cv::resize(pixels, out, {size, size}, 0, 0, cv::INTER_AREA);
    cover(pixels.rows, size, rows_);
    cover(pixels.cols, size, columns_);
    out.create(size, size, CV_8UC3);
    // OpenCV adds up columns first. Rows first is the same but for float rounding, and fit for vector instructions.
    auto share = rows_.begin();
    for (int y = 0; y < size; ++y) {
        row_.assign(3 * pixels.cols, 0);
        for (; share != rows_.end() && share->to == y; ++share) add_row(pixels.ptr(share->from), share->weight, row_.data(), 3 * pixels.cols);
        write_row(out.ptr(y));
    }
}

void Shrink::cover(int from_size, int to_size, std::vector<Share>& shares) {
    const double scale = double(from_size) / to_size, least = 1e-3;  // smaller shares are left out, as in OpenCV
    shares.clear();
    for (int to = 0; to < to_size; ++to) {
        double start = to * scale, end = start + scale, width = std::min(scale, from_size - start);
        int last = std::min(int(std::floor(end)), from_size - 1), first = std::min(int(std::ceil(start)), last);
        if (first - start > least) shares.push_back({first - 1, to, float((first - start) / width)});
        for (int from = first; from < last; ++from) shares.push_back({from, to, float(1 / width)});
        if (end - last > least) shares.push_back({last, to, float(std::min({end - last, 1.0, width}) / width)});
    }
}

void Shrink::write_row(unsigned char* out) const {
    for (auto share = columns_.begin(); share != columns_.end();) {
        float sums[3] = {0, 0, 0};
        for (int to = share->to; share != columns_.end() && share->to == to; ++share)
            for (int c = 0; c < 3; ++c) sums[c] += share->weight * row_[3 * share->from + c];
        for (float sum : sums) *out++ = cv::saturate_cast<unsigned char>(sum);
    }
}

}  // namespace deploy
