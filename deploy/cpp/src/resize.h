// Pictures to another size, byte for byte as cv2.resize does in training (data/preprocessing.py).
#pragma once

#include <vector>

#include "shrink.h"

namespace deploy {

enum class Resizing { area, linear };  // OpenCV's INTER_AREA and INTER_LINEAR

/// Keeps its memory from picture to picture.
class Resize {
  public:
    /// `in` -> `out`, rows x cols. Linear is meant for sides that grow.
    void operator()(const Image& in, int rows, int cols, Resizing resizing, Image& out);

  private:
    /// Where a row or column of the output lies between two of the source, and what it takes from both.
    struct Tap {
        int source, next;
        int weights[2];  // in 1/2048
    };
    /// The blend of one source row along its columns.
    struct Row {
        int source = -1;
        std::vector<int> values;
    };

    static void place_taps(int from_size, int to_size, Resizing resizing, std::vector<Tap>& taps);
    void blend(const Image& in, Image& out);
    Row& blend_columns(const Image& in, int source, int keep);

    Shrink shrink_;
    std::vector<Tap> rows_, columns_;
    Row blended_[2];
};

}  // namespace deploy
