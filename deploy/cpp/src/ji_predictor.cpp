#include "ji_predictor.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "json_text.h"
#include "whole_file.h"
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
      model_(load_model(config.model, {"CPU", config.threads, ov::hint::PerformanceMode::LATENCY, config.cache})),
      labels_(model_.classes),
      request_(model_, settings_.max_pixels),
      names_file_(fs::path(config.model).replace_filename("names.png")) {
    labels_.push_back(UNKNOWN);
    check_config(config, model_.classes);
}

JiPredictor::Finding JiPredictor::judge(const Answer& answer, const JiSettings& settings) const {
    const float confidence = answer.probabilities[answer.best];
    if (confidence < settings.reject_below.value_or(model_.reject_below)) return {model_.classes.size(), confidence, false};
    const auto& alerts = settings.alert_classes;
    bool is_alert = std::find(alerts.begin(), alerts.end(), model_.classes[answer.best]) != alerts.end();
    return {answer.best, confidence, is_alert};
}

std::string JiPredictor::describe(const Answer& answer, const Finding& finding, const JiSettings& settings) const {
    const auto& names = settings.language.empty() ? labels_ : settings.class_texts.at(settings.language);
    return to_text(filled(settings.answer, {{"$class", names[finding.name]},
                                            {"$confidence", rounded(finding.confidence)},
                                            {"$probabilities", named_probabilities(answer, names)},
                                            {"$is_alert", finding.is_alert}}));
}

/// What goes wrong with the letters costs them only, not the answer.
void JiPredictor::draw(const Finding& finding, const JiSettings& settings, Image& drawn) {
    drawn = request_.picture();
    if (!settings.draw_result) return;
    std::optional<int> percent;
    if (settings.draw_confidence) percent = int(std::lround(100 * finding.confidence));
    try {
        if (!names_) names_.emplace(names_file_, model_.classes.size());
        names_->draw(drawn, finding.name, percent);
    } catch (const std::runtime_error& error) {
        std::fprintf(stderr, "libji: %s\n", error.what());
    }
}

/// What goes wrong costs the picture only.
void JiPredictor::write_picture(const std::string& path, const Image& drawn) {
    try {
        const Bytes content = encode(fs::path(path).extension(), drawn);
        write_whole(path, {{reinterpret_cast<const char*>(content.data()), content.size()}});
    } catch (const std::exception& error) {
        std::fprintf(stderr, "libji: %s: cannot be written (%s); check that its folder exists and may be written to\n", path.c_str(), error.what());
    }
}

JI_CV_FRAME JiPredictor::frame(Image& drawn) { return {drawn.rows, drawn.cols, BGR_TYPE, drawn.data(), 3 * drawn.cols}; }

int JiPredictor::fail(int code, const std::string& reason, Reply& reply, JI_EVENT* event) {
    reply.json = to_text({{"error", reason}});
    if (event) *event = {JISDK_CODE_FAILED, reply.json.c_str()};
    return code;
}

}  // namespace deploy
