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

#include "json_text.h"
#include "write.h"

namespace deploy {

namespace fs = std::filesystem;

namespace {

/// `value`, each placeholder in it replaced.
nlohmann::ordered_json filled(const nlohmann::ordered_json& value, const nlohmann::ordered_json& placeholders) {
    if (value.is_string()) {
        auto found = placeholders.find(value.get_ref<const std::string&>());
        return found == placeholders.end() ? value : *found;
    }
    auto result = value;
    if (value.is_structured())
        for (auto& part : result) part = filled(part, placeholders);
    return result;
}

}  // namespace

JiPredictor::JiPredictor(const JiConfig& config)
    : settings_(config.settings),
      model_(load_model(config.model, {"CPU", config.threads, ov::hint::PerformanceMode::LATENCY})),
      labels_(model_.classes),
      request_(model_, settings_.max_pixels) {
    labels_.push_back(UNKNOWN);
    check_settings(settings_, model_.classes);
}

const std::vector<std::string>& JiPredictor::names(const JiSettings& settings) const {
    return settings.language.empty() ? labels_ : settings.class_texts.at(settings.language);
}

JiPredictor::Finding JiPredictor::judge(const Answer& answer, const JiSettings& settings) const {
    const float confidence = answer.probabilities[answer.best];
    if (confidence < settings.reject_below.value_or(model_.reject_below)) return {names(settings).back(), confidence, false};
    const auto& alerts = settings.alert_classes;
    bool is_alert = std::find(alerts.begin(), alerts.end(), model_.classes[answer.best]) != alerts.end();
    return {names(settings)[answer.best], confidence, is_alert};
}

std::string JiPredictor::describe(const Answer& answer, const Finding& finding, const JiSettings& settings) const {
    return to_text(filled(settings.answer, {{"$class", finding.name},
                                            {"$confidence", rounded(finding.confidence)},
                                            {"$probabilities", named_probabilities(answer, names(settings))},
                                            {"$is_alert", finding.is_alert}}));
}

void JiPredictor::draw(const Finding& finding, const JiSettings& settings, cv::Mat& drawn) const {
    request_.picture().copyTo(drawn);
    if (!settings.draw_result) return;
    char percent[16] = "";
    if (settings.draw_confidence) std::snprintf(percent, sizeof percent, " %.0f %%", 100 * finding.confidence);
    double scale = std::max(0.3, std::min(drawn.rows, drawn.cols) / 400.0);
    int line = std::max(1, int(2 * scale));
    cv::Point corner(int(8 * scale), int(28 * scale));
    for (auto [color, thickness] : {std::pair(cv::Scalar::all(0), 3 * line), std::pair(cv::Scalar::all(255), line)})
        cv::putText(drawn, finding.name + percent, corner, cv::FONT_HERSHEY_SIMPLEX, scale, color, thickness, cv::LINE_AA);
}

/// Appears whole or not at all: written beside, then renamed. What goes wrong costs the picture only, not the answer.
void JiPredictor::write_picture(const std::string& path, const cv::Mat& drawn) {
    fs::path final(path);
    fs::path temporary = final.parent_path() / ("." + final.stem().string() + "." + std::to_string(getpid()) + ".tmp" + final.extension().string());
    try {
        Bytes content = encode(final.extension(), drawn);
        errno = 0;
        std::ofstream file(temporary, std::ios::binary);
        file.write(reinterpret_cast<const char*>(content.data()), std::streamsize(content.size()));
        file.close();
        if (!file) throw std::runtime_error(std::string(std::strerror(errno)) + "; check that its folder exists and may be written to");
        fs::rename(temporary, final);
    } catch (const std::exception& error) {
        std::error_code ignored;
        fs::remove(temporary, ignored);
        std::fprintf(stderr, "libji: %s: cannot be written (%s)\n", path.c_str(), error.what());
    }
}

JI_CV_FRAME JiPredictor::frame(const cv::Mat& drawn) { return {drawn.rows, drawn.cols, drawn.type(), drawn.data, int(drawn.step)}; }

int JiPredictor::fail(int code, const std::string& reason, Reply& reply, JI_EVENT* event) {
    reply.json = to_text({{"error", reason}});
    if (event) *event = {JISDK_CODE_FAILED, reply.json.c_str()};
    return code;
}

}  // namespace deploy
