#include "manifest.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "sha256.h"

namespace deploy {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string hash_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    Sha256 hash;
    std::vector<char> part(1 << 20);
    do {
        file.read(part.data(), std::streamsize(part.size()));
        hash.add(part.data(), size_t(file.gcount()));
    } while (file);
    if (!file.eof()) throw std::runtime_error(path.string() + ": cannot be read.");
    return hash.hex();
}

struct Expected {
    fs::path path;
    uintmax_t bytes;
    std::string sha256;
};

[[noreturn]] void refuse(const fs::path& path) {
    throw std::runtime_error(path.string() + ": is not what was exported (manifest.json says another size or SHA-256): damaged or "
                             "exchanged. Copy the exported folder again, or export the run again with export_openvino.py.");
}

/// What manifest.json says of the files that are there.
std::vector<Expected> read_manifest(std::istream& file, const fs::path& xml_path) {
    std::vector<Expected> expected;
    Json files = Json::parse(file).at("files");
    for (const fs::path& path : {xml_path, fs::path(xml_path).replace_extension(".bin"), xml_path.parent_path() / "labels.txt"})
        if (auto facts = files.find(path.filename().string()); facts != files.end())
            expected.push_back({path, facts->at("bytes").get<uintmax_t>(), facts->at("sha256").get<std::string>()});
    return expected;
}

/// Of the .xml and the .bin, which come first.
std::string content_of(const std::vector<Expected>& files) {
    std::string content;
    for (const auto& file : files)
        if (file.path.filename() != "labels.txt") content += file.sha256;
    return content.size() == 2 * 64 ? content : "";
}

}  // namespace

Manifest check_manifest(const fs::path& xml_path) {
    const fs::path manifest = xml_path.parent_path() / "manifest.json";
    std::vector<Expected> expected;
    if (std::ifstream file{manifest}) try {
            expected = read_manifest(file, xml_path);
        } catch (const Json::exception& error) {
            throw std::runtime_error(manifest.string() + ": damaged (" + error.what() + "). Copy the exported folder again.");
        }
    std::error_code missing;
    for (const auto& file : expected)
        if (fs::file_size(file.path, missing) != file.bytes) refuse(file.path);
    auto check = [expected] {
        for (const auto& file : expected)
            if (hash_of(file.path) != file.sha256) refuse(file.path);
    };
    return {content_of(expected), std::async(std::launch::async, check)};
}

}  // namespace deploy
