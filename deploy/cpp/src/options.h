// The command line of `classify`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compiled.h"
#include "errors.h"

namespace deploy {

struct Options {
    std::string model, device = "CPU", output = "csv", cache = users_cache();
    int threads = 0;  // 0: as many as there are cores
    size_t max_pixels = MAX_PIXELS;
    std::optional<float> reject_below;  // else what the network says
    bool benchmark = false;
    double seconds = 5;  // of each measurement
    std::vector<std::string> pictures;
};

/// Wrong use of the command line: one message and status 2.
struct UsageError {
    std::string message;
};

/// Prints the help and exits where that is asked for. Throws UsageError.
Options parse_options(int argc, char** argv);

}  // namespace deploy
