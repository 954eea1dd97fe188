// Pixels of a picture -> the network's input; the twin of `Preprocessing` (data/preprocessing.py).
#pragma once

#include "image.h"
#include "model.h"
#include "resize.h"

namespace deploy {

/// Writes straight into a request's input tensor. One for each request: its memory must live until the inference is over.
class Preprocess {
  public:
    explicit Preprocess(const InputSpec& spec) : spec_(spec) {}

    /// `bgr` (of any size) becomes the input of `request`.
    void operator()(const Image& bgr, ov::InferRequest& request);

  private:
    void square(const Image& bgr);
    void pad(const Image& bgr);
    const Byte* row_of_middle(int y) const;
    void as_floats(const Image& bgr, float* planes);
    void as_pixels(const Image& bgr, unsigned char* pixels);
    void as_picture(const Image& bgr, ov::InferRequest& request);

    const InputSpec spec_;
    Resize resize_;
    Image square_, inner_, rgb_;
};

}  // namespace deploy
