#include "paths.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>

namespace deploy {
namespace {

namespace fs = std::filesystem;

std::string lower(std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
    return text;
}

bool is_hidden(const fs::path& path) { return path.filename().native().front() == '.'; }

bool is_text(const fs::path& path) {
    static const std::set<std::string> suffixes{".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html"};
    static const std::set<std::string> junk{"thumbs.db", "desktop.ini"};
    return suffixes.count(lower(path.extension())) || junk.count(lower(path.filename()));
}

std::vector<std::string> files_below(const fs::path& folder) {
    std::vector<std::string> paths;
    for (auto entry = fs::recursive_directory_iterator(folder); entry != fs::recursive_directory_iterator(); ++entry) {
        if (is_hidden(entry->path())) {
            if (entry->is_directory()) entry.disable_recursion_pending();
        } else if (entry->is_regular_file() && !is_text(entry->path())) {
            paths.push_back(entry->path());
        }
    }
    std::sort(paths.begin(), paths.end());
    return paths;
}

}  // namespace

std::vector<std::string> read_list(const std::string& path) {
    std::ifstream file(path);
    std::vector<std::string> paths;
    for (std::string line; std::getline(file, line);) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        if (!line.empty()) paths.push_back(line);
    }
    if (!file.eof()) throw std::runtime_error(path + ": cannot be read. Name a text file with one path a line.");
    return paths;
}

std::vector<std::string> list_pictures(const std::vector<std::string>& named) {
    std::vector<std::string> paths;
    for (const auto& name : named) {
        std::vector<std::string> found{name};
        if (fs::is_directory(name))
            found = files_below(name);
        else if (lower(fs::path(name).extension()) == ".txt")
            found = read_list(name);
        paths.insert(paths.end(), found.begin(), found.end());
    }
    return paths;
}

}  // namespace deploy
