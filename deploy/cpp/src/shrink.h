// cv::resize with INTER_AREA for the common case, several times as fast.
#pragma once

#include <opencv2/core.hpp>
#include <vector>

namespace deploy {

/// Keeps its memory from picture to picture.
class Shrink {
  public:
    /// `pixels` (8-bit BGR, any size) -> `out`, size x size, each pixel the mean of the area that it covers.
    void operator()(const cv::Mat& pixels, int size, cv::Mat& out);

  private:
    /// How much of one source row or column goes into one of the output.
    struct Share {
        int from, to;
        float weight;
    };
    static void cover(int from_size, int to_size, std::vector<Share>& shares);
    void write_row(unsigned char* out) const;

    std::vector<Share> rows_, columns_;
    std::vector<float> row_;
};

}  // namespace deploy
