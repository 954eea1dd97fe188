#include "request.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace deploy {

std::string class_of(const Answer& answer, const std::vector<std::string>& classes, float reject_below) {
    return answer.probabilities[answer.best] < reject_below ? UNKNOWN : classes[answer.best];
}

Answer answer_of(const float* logits, size_t count) {
    Answer answer;
    answer.probabilities.assign(logits, logits + count);
    auto largest = std::max_element(logits, logits + count);
    answer.best = largest - logits;
    float sum = 0;
    for (float& value : answer.probabilities) sum += value = std::exp(value - *largest);
    for (float& value : answer.probabilities) value /= sum;
    return answer;
}

void Request::load_file(const std::string& path) {
    read_file(path, content_);
    load_content();
}

void Request::load_bytes(Bytes content) {
    content_ = std::move(content);
    load_content();
}

void Request::load_content() {
    smaller_ = decode(content_, bgr_, max_pixels_, at_least_);
    preprocess_(bgr_, request_);
}

const Image& Request::picture() {
    if (smaller_) smaller_ = decode(content_, bgr_, max_pixels_);
    return bgr_;
}

void Request::load_pixels(const Frame& frame) {
    smaller_ = false;
    to_bgr(frame, bgr_);
    preprocess_(bgr_, request_);
}

Answer Request::infer() {
    request_.infer();
    return answer();
}

Answer Request::answer() {
    auto logits = request_.get_output_tensor();
    Answer answer = answer_of(logits.data<float>(), logits.get_size());
    if (!std::isfinite(answer.probabilities[answer.best]))
        throw std::runtime_error("the network's answer is no number (NaN): it was spoilt in training. Train it again.");
    return answer;
}

}  // namespace deploy
