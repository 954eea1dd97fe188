#include "paths.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
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

/// Left by systems, network disks and editors, in small letters; hidden names need no entry. The same as in data/listing.py.
bool is_left_out(const fs::path& path, bool folder) {
    static const std::set<std::string> files{"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"};
    static const std::set<std::string> folders{"__macosx", "__pycache__", "@eadir",       "@tmp",     "@recycle", "#recycle",
                                               "#snapshot", "$recycle.bin", "recycler", "system volume information", "lost+found"};
    const std::string name = lower(path.filename());
    return name.front() == '.' || (folder ? folders : files).count(name);
}

bool is_text(const fs::path& path) {
    static const std::set<std::string> suffixes{".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html"};
    return suffixes.count(lower(path.extension()));
}

/// What is equal for two names of one folder.
using Identity = std::pair<dev_t, ino_t>;

Identity identity(const fs::path& folder) {
    struct stat facts;
    if (stat(folder.c_str(), &facts) != 0) throw fs::filesystem_error("", folder, std::error_code(errno, std::generic_category()));
    return {facts.st_dev, facts.st_ino};
}

/// All files below a folder, links followed. Each folder is visited once: a link to one that was seen, or to one above, might
/// never end. Broken links count as files, as do pipes and devices, so that they are reported.
class Walk {
  public:
    explicit Walk(const fs::path& root) {
        for (fs::path place = fs::canonical(root); seen_.insert(identity(place)).second; place = place.parent_path()) {
        }
        enter(root);
        std::sort(files_.begin(), files_.end());
    }

    std::vector<std::string> files() const { return {files_.begin(), files_.end()}; }

  private:
    void enter(const fs::path& folder) {
        std::vector<fs::path> folders;
        for (const auto& entry : fs::directory_iterator(folder)) {
            std::error_code broken;
            if (entry.is_directory(broken))
                folders.push_back(entry.path());
            else if (!is_left_out(entry.path(), false) && !is_text(entry.path()))
                files_.push_back(entry.path());
        }
        std::sort(folders.begin(), folders.end());
        auto unwanted = [&](const fs::path& path) { return is_left_out(path, true) || !seen_.insert(identity(path)).second; };
        folders.erase(std::remove_if(folders.begin(), folders.end(), unwanted), folders.end());
        for (const auto& path : folders) enter(path);
    }

    std::set<Identity> seen_;
    std::vector<fs::path> files_;
};

std::vector<std::string> files_below(const fs::path& folder) {
    try {
        return Walk(folder).files();
    } catch (const fs::filesystem_error& error) {
        throw std::runtime_error(error.path1().string() + ": the folder may not be read (" + error.code().message() +
                                 "). Allow it to this user, or move it away.");
    }
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
