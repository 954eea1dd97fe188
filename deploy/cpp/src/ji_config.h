// Where libji.so finds its network, and what config.json may change.
#pragma once

#include <filesystem>
#include <optional>

#include "errors.h"
#include "json_text.h"

namespace deploy {

struct JiConfig {
    std::filesystem::path model;
    int threads = 0;                 // of inference; 0: all cores
    size_t max_pixels = MAX_PIXELS;  // of a picture
    std::optional<float> reject_below;  // else what the network says
    AnswerKeys keys;
};

/// From ../config/config.json (optional) beside the folder of this library; see ji.h. Throws std::runtime_error.
JiConfig read_ji_config();

}  // namespace deploy
