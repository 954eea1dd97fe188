#include "ji_predictor.h"

#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "write.h"

namespace deploy {

namespace fs = std::filesystem;

JiPredictor::JiPredictor(const JiConfig& config)
    : keys_(config.keys),
      model_(load_model(config.model, {"CPU", config.threads, ov::hint::PerformanceMode::LATENCY})),
      reject_below_(config.reject_below.value_or(model_.reject_below)),
      request_(model_, config.max_pixels),
      names_file_(fs::path(config.model).replace_filename("names.png")) {}

void JiPredictor::describe(const Answer& answer) {
    nlohmann::ordered_json object;
    add_answer(object, answer, model_.classes, reject_below_, keys_);
    json_ = to_text(object);
}

void JiPredictor::draw(const Answer& answer) {
    drawn_ = request_.picture();
    if (!names_) names_.emplace(names_file_, model_.classes.size());
    const float probability = answer.probabilities[answer.best];
    names_->draw(drawn_, probability < reject_below_ ? model_.classes.size() : answer.best, int(std::lround(100 * probability)));
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

JI_CV_FRAME JiPredictor::frame() { return {drawn_.rows, drawn_.cols, BGR_TYPE, drawn_.data(), 3 * drawn_.cols}; }

int JiPredictor::fail(const std::string& reason, JI_EVENT* event) {
    json_ = to_text({{"error", reason}});
    if (event) *event = {JISDK_CODE_FAILED, json_.c_str()};
    return JISDK_RET_FAILED;
}

}  // namespace deploy
