#include "preprocess.h"

#include <algorithm>
#include <opencv2/imgproc.hpp>

namespace deploy {

using Kind = InputSpec::Kind;

void Preprocess::operator()(const cv::Mat& bgr, ov::InferRequest& request) {
    switch (spec_.kind) {
        case Kind::floats: return as_floats(bgr, request.get_input_tensor().data<float>());
        case Kind::pixels: return as_pixels(bgr, request.get_input_tensor().data<unsigned char>());
        case Kind::picture: return as_picture(bgr, request);
    }
}

cv::Mat Preprocess::middle(const cv::Mat& bgr) {
    if (spec_.pad)
        pad(bgr);
    else if (spec_.resize < std::max(bgr.rows, bgr.cols))
        shrink_(bgr, spec_.resize, resized_);
    else
        cv::resize(bgr, resized_, {spec_.resize, spec_.resize}, 0, 0, cv::INTER_LINEAR);
    int offset = (spec_.resize - spec_.image_size) / 2;
    return resized_(cv::Rect(offset, offset, spec_.image_size, spec_.image_size));
}

/// Into `resized_`, its shorter side filled up with grey; rounded as in Python.
void Preprocess::pad(const cv::Mat& bgr) {
    long long size = spec_.resize, longer = std::max(bgr.rows, bgr.cols);
    auto fitted = [&](int side) { return std::max(1, int((2 * side * size + longer) / (2 * longer))); };
    int rows = fitted(bgr.rows), cols = fitted(bgr.cols);
    resized_.create(spec_.resize, spec_.resize, CV_8UC3);
    resized_.setTo(cv::Scalar::all(128));
    cv::Mat inner = resized_(cv::Rect((spec_.resize - cols) / 2, (spec_.resize - rows) / 2, cols, rows));
    cv::resize(bgr, inner, inner.size(), 0, 0, size < longer ? cv::INTER_AREA : cv::INTER_LINEAR);
}

void Preprocess::as_floats(const cv::Mat& bgr, float* planes) {
    int size = spec_.image_size;
    cv::split(middle(bgr), channels_);
    for (int c = 0; c < 3; ++c) {
        cv::Mat plane(size, size, CV_32F, planes + c * size * size);
        double scale = spec_.scale[c];
        channels_[spec_.bgr ? c : 2 - c].convertTo(plane, CV_32F, 1 / scale, -spec_.mean[c] / scale);
    }
}

void Preprocess::as_pixels(const cv::Mat& bgr, unsigned char* pixels) {
    cv::Mat input(spec_.image_size, spec_.image_size, CV_8UC3, pixels);
    if (spec_.bgr)
        middle(bgr).copyTo(input);
    else
        cv::cvtColor(middle(bgr), input, cv::COLOR_BGR2RGB);
}

void Preprocess::as_picture(const cv::Mat& bgr, ov::InferRequest& request) {
    if (!spec_.bgr)
        cv::cvtColor(bgr, picture_, cv::COLOR_BGR2RGB);
    else
        picture_ = bgr;
    ov::Shape shape{1, size_t(picture_.rows), size_t(picture_.cols), 3};
    request.set_input_tensor(ov::Tensor(ov::element::u8, shape, picture_.data));
}

}  // namespace deploy
