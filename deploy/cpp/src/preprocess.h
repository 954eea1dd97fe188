// Pixels of a picture -> the network's input; the twin of `resize_square` (data/dataset.py) and `crop` (data/batches.py).
#pragma once

#include <opencv2/core.hpp>
#include <vector>

#include "model.h"
#include "shrink.h"

namespace deploy {

/// Writes straight into a request's input tensor. One for each request: its memory must live until the inference is over.
class Preprocess {
  public:
    explicit Preprocess(const InputSpec& spec) : spec_(spec) {}

    /// `bgr` (8 bits, any size, continuous) becomes the input of `request`.
    void operator()(const cv::Mat& bgr, ov::InferRequest& request);

  private:
    cv::Mat middle(const cv::Mat& bgr);
    void pad(const cv::Mat& bgr);
    void as_floats(const cv::Mat& bgr, float* planes);
    void as_pixels(const cv::Mat& bgr, unsigned char* pixels);
    void as_picture(const cv::Mat& bgr, ov::InferRequest& request);

    const InputSpec spec_;
    Shrink shrink_;
    cv::Mat resized_, picture_;
    std::vector<cv::Mat> channels_;
};

}  // namespace deploy
