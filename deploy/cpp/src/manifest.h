// manifest.json beside a network: what its files were when they were exported.
#pragma once

#include <filesystem>
#include <future>
#include <string>

namespace deploy {

struct Manifest {
    std::string content;  // the SHA-256 of the network's two files; empty where they are not known
    std::future<void> intact;
};

/// Are the network's .xml and .bin and labels.txt beside it what manifest.json there says? Sizes are compared at once; SHA-256 on
/// another thread, whose answer comes with the future. Both throw std::runtime_error. Without manifest.json, or for a file that
/// it does not name, nothing is known and nothing checked.
Manifest check_manifest(const std::filesystem::path& xml_path);

}  // namespace deploy
