// Many pictures: decoding of the next ones overlaps with inference, results come in order, memory stays bounded.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "request.h"

namespace deploy {

struct Result {
    std::string path;
    std::optional<Answer> answer;
    std::string error;  // why there is no answer
};

/// The next path, or nothing at the end. Called from several threads, one at a time.
using Source = std::function<std::optional<std::string>()>;
/// Takes the results in the order of their paths, in the calling thread.
using Sink = std::function<void(const Result&)>;

/// Classify all of `source`, pictures of up to `max_pixels`, with `decoders` decoding threads and as many inferences at a time as suit the device.
void classify_all(Model& model, int decoders, size_t max_pixels, const Source& source, const Sink& sink);

}  // namespace deploy
