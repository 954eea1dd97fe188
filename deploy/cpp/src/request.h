// One inference with all the memory that a picture needs on its way from file to answer.
#pragma once

#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "model.h"
#include "picture.h"
#include "preprocess.h"

namespace deploy {

struct Answer {
    size_t best = 0;                   // index of the most probable class
    std::vector<float> probabilities;  // of all classes, summing to 1
};

/// What a picture is called for which no class is probable enough.
inline const char* const UNKNOWN = "unknown";

/// The name of the most probable class; UNKNOWN where its probability is below `reject_below`.
std::string class_of(const Answer& answer, const std::vector<std::string>& classes, float reject_below);

/// Softmax of `count` logits.
Answer answer_of(const float* logits, size_t count);

/// Memory is allocated with the first picture and used again. Not for use by two threads at once.
class Request {
  public:
    /// max_pixels: of pictures that are decoded.
    explicit Request(Model& model, size_t max_pixels = MAX_PIXELS)
        : request_(model.compiled.create_infer_request()), preprocess_(model.input), max_pixels_(max_pixels), at_least_(model.input.at_least) {}
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;

    /// Pictures of up to `max_pixels` from now on.
    void limit(size_t max_pixels) { max_pixels_ = max_pixels; }

    /// A picture becomes the network's input. Throw PictureError.
    void load_file(const std::string& path);
    void load_bytes(Bytes content);
    void load_pixels(const Frame& frame);

    /// The answer for the picture loaded last. Throws std::runtime_error if it is no number.
    Answer infer();

    /// Called when an inference begun by `start` is over, in a thread of OpenVINO's, with its exception if it failed.
    void on_done(std::function<void(std::exception_ptr)> callback) { request_.set_callback(std::move(callback)); }
    void start() { request_.start_async(); }
    Answer answer();

    /// The picture loaded last, 8-bit BGR, in its own size.
    const Image& picture();

  private:
    void load_content();

    ov::InferRequest request_;
    Preprocess preprocess_;
    size_t max_pixels_, at_least_;
    Bytes content_;
    bool smaller_ = false;  // is `bgr_` smaller than the picture in `content_`?
    Image bgr_;
};

}  // namespace deploy
