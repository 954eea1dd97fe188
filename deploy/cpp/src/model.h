// An exported IR, compiled, with what it expects of pixels and what its answers are called.
#pragma once

#include <array>
#include <openvino/openvino.hpp>
#include <string>
#include <vector>

#include "picture.h"

namespace deploy {

/// How pixels go into the network. Read from the IR itself, so that no answer depends on options given right.
struct InputSpec {
    enum class Kind {
        floats,  // f32 (1, 3, S, S): we resize, crop and normalise
        pixels,  // u8 (1, S, S, 3): we resize and crop
        picture  // u8 (1, H, W, 3), any size: the network does all of it
    };
    Kind kind;
    bool bgr;                         // channel order that the network expects; otherwise RGB
    int resize = 0, image_size = 0;   // the whole picture becomes resize x resize, its middle image_size x image_size
    size_t at_least = OWN_SIZE;       // the sides that a JPEG must keep when it is decoded, see picture.h
    bool pad = false;                 // it keeps its proportions, with grey beside it; otherwise it is stretched
    std::array<double, 3> mean{}, scale{};  // of `floats`: (pixel - mean) / scale, pixels 0..255, in the network's channel order
};

struct ModelSettings {
    std::string device = "CPU";
    int threads = 0;  // for inference; 0: all cores
    ov::hint::PerformanceMode hint = ov::hint::PerformanceMode::THROUGHPUT;
    std::string cache = {};  // folder for the compiled network, so that the next start is faster; empty: none is written
};

struct Model {
    ov::CompiledModel compiled;
    InputSpec input;
    std::vector<std::string> classes;
    float reject_below = 0;  // confidence below which the class is to be called unknown, unless the user says otherwise
};

/// The IR at `xml_path`, compiled for one picture at a time; or found compiled in the folder `compiled` beside it, or in the cache,
/// where manifest.json says which network it is. Throws std::runtime_error that says what to do.
Model load_model(const std::string& xml_path, const ModelSettings& settings);

}  // namespace deploy
