#include "ji_predictor.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <opencv2/imgproc.hpp>
#include <stdexcept>

#include "write.h"

namespace deploy {

namespace fs = std::filesystem;

JiPredictor::JiPredictor(const JiConfig& config)
    : keys_(config.keys),
      model_(load_model(config.model, {"CPU", config.threads, ov::hint::PerformanceMode::LATENCY})),
      reject_below_(config.reject_below.value_or(model_.reject_below)),
      request_(model_, config.max_pixels) {}

void JiPredictor::describe(const Answer& answer) {
    nlohmann::ordered_json object;
    add_answer(object, answer, model_.classes, reject_below_, keys_);
    json_ = to_text(object);
}

void JiPredictor::draw(const Answer& answer) {
    request_.picture().copyTo(drawn_);
    char percent[16];
    std::snprintf(percent, sizeof percent, " %.0f %%", 100 * answer.probabilities[answer.best]);
    double scale = std::max(0.3, std::min(drawn_.rows, drawn_.cols) / 400.0);
    int line = std::max(1, int(2 * scale));
    cv::Point corner(int(8 * scale), int(28 * scale));
    for (auto [color, thickness] : {std::pair(cv::Scalar::all(0), 3 * line), std::pair(cv::Scalar::all(255), line)})
        cv::putText(drawn_, class_of(answer, model_.classes, reject_below_) + percent, corner, cv::FONT_HERSHEY_SIMPLEX, scale, color, thickness, cv::LINE_AA);
}

/// Appears whole or not at all: written beside, then renamed.
void JiPredictor::write_picture(const std::string& path) const {
    fs::path final(path);
    fs::path temporary = final.parent_path() / ("." + final.stem().string() + "." + std::to_string(getpid()) + ".tmp" + final.extension().string());
    try {
        Bytes content = encode(final.extension(), drawn_);
        std::ofstream file(temporary, std::ios::binary);
        file.write(reinterpret_cast<const char*>(content.data()), std::streamsize(content.size()));
        file.close();
        if (!file) throw std::runtime_error(std::strerror(errno));
        fs::rename(temporary, final);
    } catch (const std::exception& error) {
        std::error_code ignored;
        fs::remove(temporary, ignored);
        throw std::runtime_error(path + ": cannot be written (" + error.what() + "). Check that its folder exists and may be written to.");
    }
}

JI_CV_FRAME JiPredictor::frame() { return {drawn_.rows, drawn_.cols, drawn_.type(), drawn_.data, int(drawn_.step)}; }

int JiPredictor::fail(const std::string& reason, JI_EVENT* event) {
    json_ = to_text({{"error", reason}});
    if (event) *event = {JISDK_CODE_FAILED, json_.c_str()};
    return JISDK_RET_FAILED;
}

}  // namespace deploy
