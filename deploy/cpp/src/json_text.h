// Answers as JSON, for the program and the library alike.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "request.h"

namespace deploy {

/// Six decimals, as in CSV.
inline double rounded(float value) { return std::round(value * 1e6) / 1e6; }

inline nlohmann::ordered_json named_probabilities(const Answer& answer, const std::vector<std::string>& names) {
    auto object = nlohmann::ordered_json::object();
    for (size_t k = 0; k < answer.probabilities.size(); ++k) object[names[k]] = rounded(answer.probabilities[k]);
    return object;
}

/// One line; bytes that are no UTF-8 (file names may hold any) become U+FFFD instead of an exception.
inline std::string to_text(const nlohmann::ordered_json& value) {
    return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace deploy
