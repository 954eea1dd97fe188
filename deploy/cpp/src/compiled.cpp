#include "compiled.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "sha256.h"
#include "whole_file.h"

namespace deploy {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const size_t KEPT = 8;          // files in a folder
const size_t ALIGNMENT = 4096;  // of the compiled network in its file, behind a line of JSON filled up with blanks
const size_t LETTERS = 32;      // of a name, hex digits
const char* const SUFFIX = ".compiled";

/// Of all that a file holds but this hash itself.
std::string hash_of(const std::string& notes, const void* blob, size_t size) {
    Sha256 hash;
    hash.add(notes.data(), notes.size());
    hash.add(blob, size);
    return hash.hex();
}

/// Compiled for another processor or by another OpenVINO, a network may not run, or not as fast as it could.
std::string name_of(ov::Core& core, const std::string& device, const std::string& content) {
    std::ostringstream text;
    text << "1\n" << content << '\n' << ov::get_openvino_version().buildNumber << '\n' << core.get_property(device, ov::device::full_name);
    for (const auto& capability : core.get_property(device, ov::device::capabilities)) text << ' ' << capability;
    return hash_of(text.str(), nullptr, 0).substr(0, LETTERS) + SUFFIX;
}

/// A folder that a user names may hold others.
bool is_ours(const fs::path& path) {
    const std::string stem = path.stem();
    return path.extension() == SUFFIX && stem.size() == LETTERS && stem.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// Other programs may do the same at once: what is gone is gone.
void remove_oldest(const fs::path& folder) {
    std::vector<std::pair<fs::file_time_type, fs::path>> files;
    std::error_code gone;
    for (const auto& entry : fs::directory_iterator(folder))
        if (is_ours(entry.path())) files.emplace_back(fs::last_write_time(entry.path(), gone), entry.path());
    std::sort(files.rbegin(), files.rend());
    for (size_t i = KEPT; i < files.size(); ++i) fs::remove(files[i].second, gone);
}

}  // namespace

CompiledFile::CompiledFile(ov::Core& core, const std::string& device, const std::string& content)
    : core_(core), device_(device), name_(name_of(core, device, content)) {}

std::optional<Compiled> CompiledFile::read(const fs::path& folder, const ov::AnyMap& properties) const {
    if (folder.empty()) return {};  // not the working directory
    try {
        const fs::path path = folder / name_;
        std::string line;
        if (!fs::is_regular_file(path)) return {};
        if (std::ifstream file{path}; !std::getline(file, line)) return {};
        const Json head = Json::parse(line);
        const auto blob = ov::read_tensor_data(path, ov::element::u8, ov::PartialShape::dynamic(1), line.size() + 1);
        if (hash_of(head.at("notes").dump(), blob.data(), blob.get_byte_size()) != head.at("sha256")) return {};
        return Compiled{core_.import_model(blob, device_, properties), head.at("notes").get<Notes>()};
    } catch (const std::exception&) {
        return {};
    }
}

void CompiledFile::write(const fs::path& folder, Compiled compiled) const {
    try {
        std::ostringstream stream;
        compiled.network.export_model(stream);
        const std::string blob = stream.str();
        const Json notes = compiled.notes;
        std::string head = Json{{"sha256", hash_of(notes.dump(), blob.data(), blob.size())}, {"notes", notes}}.dump();
        head.resize((head.size() / ALIGNMENT + 1) * ALIGNMENT, ' ');
        head.back() = '\n';
        fs::create_directories(folder);
        write_whole(folder / name_, {head, blob});
        remove_oldest(folder);
        remove_leftovers(folder);
    } catch (const std::exception&) {  // it is compiled again next time
    }
}

std::string users_cache() {
    const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
    if (cache && *cache == '/') return std::string(cache) + "/classify";
    return home && *home == '/' ? std::string(home) + "/.cache/classify" : "";
}

}  // namespace deploy
