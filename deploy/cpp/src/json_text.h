// An answer as JSON, for the program and the library alike.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "request.h"

namespace deploy {

/// What the parts of an answer are called.
struct AnswerKeys {
    std::string name = "class", confidence = "confidence", probabilities = "probabilities";
};

/// Six decimals, as in CSV.
inline double rounded(float value) { return std::round(value * 1e6) / 1e6; }

/// reject_below: see `class_of`.
inline void add_answer(nlohmann::ordered_json& object, const Answer& answer, const std::vector<std::string>& classes,
                       float reject_below, const AnswerKeys& keys) {
    auto probabilities = nlohmann::ordered_json::object();
    for (size_t k = 0; k < classes.size(); ++k) probabilities[classes[k]] = rounded(answer.probabilities[k]);
    object[keys.name] = class_of(answer, classes, reject_below);
    object[keys.confidence] = rounded(answer.probabilities[answer.best]);
    object[keys.probabilities] = probabilities;
}

/// One line; bytes that are no UTF-8 (file names may hold any) become U+FFFD instead of an exception.
inline std::string to_text(const nlohmann::ordered_json& value) {
    return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace deploy
