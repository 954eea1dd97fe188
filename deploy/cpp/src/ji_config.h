// What libji.so can be told: by ../config/algo_config.json, and by the `args` of a call. See ji.h.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "errors.h"

namespace deploy {

/// What may be another for each call.
struct JiSettings {
    size_t max_pixels = MAX_PIXELS;
    std::optional<float> reject_below;  // else what the network says
    std::vector<std::string> alert_classes;
    bool draw_result = true, draw_confidence = true;
    std::string language;
    std::map<std::string, std::vector<std::string>> class_texts;  // of a language: of all classes, and the word for unknown
    nlohmann::ordered_json answer{{"class", "$class"}, {"confidence", "$confidence"}, {"probabilities", "$probabilities"}};
};

struct JiConfig {
    std::filesystem::path model;
    int threads = 0;    // of inference; 0: all cores
    std::string cache;  // folder for the compiled network, see model.h
    JiSettings settings;
};

/// From ../config/algo_config.json beside the folder of this library. Throws std::runtime_error.
JiConfig read_ji_config();

/// Throws std::runtime_error for a file with settings that do not go with a network of these classes.
void check_config(const JiConfig& config, const std::vector<std::string>& classes);

/// `args` that cannot be followed.
struct ArgsError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// `settings`, changed by `args` (a JSON object as text) and checked. Throws ArgsError.
JiSettings changed(JiSettings settings, const char* args, const std::vector<std::string>& classes);

}  // namespace deploy
