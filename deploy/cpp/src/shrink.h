// Pictures to a smaller size, byte for byte as cv2.resize does with INTER_AREA where no side grows; faster.
#pragma once

#include <vector>

#include "image.h"

namespace deploy {

/// Keeps its memory from picture to picture.
class Shrink {
  public:
    /// `in` -> `out`, of which no side may be longer: each pixel is the mean of the area that it covers.
    void operator()(const Image& in, int rows, int cols, Image& out);

  private:
    /// How much of one source row or column goes into one of the output.
    struct Share {
        int from, to;
        float weight;
    };
    /// One pixel; the fourth number means nothing, but four lie in one register.
    using Vector = float __attribute__((vector_size(16)));
    struct Colors {
        Vector values;
    };

    static void cover(int from_size, int to_size, std::vector<Share>& shares);
    void add_columns(const Byte* row);
    void average_areas(const Image& in, Image& out);
    void average_blocks(const Image& in, int block_rows, int block_cols, Image& out);

    std::vector<Share> row_shares_, column_shares_;
    std::vector<Colors> across_, sums_;  // of one source row, of one output row
    std::vector<unsigned> columns_;
};

}  // namespace deploy
