#include "paths.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
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
        reading(root, [&] {
            for (fs::path place = fs::canonical(root); seen_.insert(identity(place)).second; place = place.parent_path()) {
            }
            enter(root);
        });
        std::sort(files_.begin(), files_.end());
        if (!unreadable_.empty()) refuse(root);
    }

    std::vector<std::string> files() const { return {files_.begin(), files_.end()}; }

  private:
    template <typename Action>
    void reading(const fs::path& folder, Action action) {
        try {
            action();
        } catch (const fs::filesystem_error& error) {
            unreadable_.push_back("'" + folder.string() + "': " + error.code().message());
        }
    }

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
        for (const auto& path : folders)
            if (!is_left_out(path, true))
                reading(path, [&] {
                    if (seen_.insert(identity(path)).second) enter(path);
                });
    }

    /// Names all of them, as `refuse_unreadable` in data/listing.py.
    [[noreturn]] void refuse(const fs::path& root) const {
        std::string message = root.string() + ": " + std::to_string(unreadable_.size()) + " folders may not be read:\n";
        for (size_t i = 0; i < std::min(unreadable_.size(), MAX_LISTED); ++i) message += "    " + unreadable_[i] + '\n';
        if (unreadable_.size() > MAX_LISTED) message += "    ... and " + std::to_string(unreadable_.size() - MAX_LISTED) + " more\n";
        throw std::runtime_error(message + "Allow it to this user (chmod -R u+rX, chown), or move them away.");
    }

    static constexpr size_t MAX_LISTED = 20;
    std::set<Identity> seen_;
    std::vector<fs::path> files_;
    std::vector<std::string> unreadable_;  // folders, each with the reason
};

bool is_folder(const std::string& name) {
    std::error_code broken;  // such as a link that leads in a circle: a row with the reason
    return fs::is_directory(name, broken);
}

}  // namespace

std::vector<std::string> read_list(const std::string& path) {
    std::ifstream file(path);
    std::string content;
    std::getline(file, content, '\0');  // UTF-16 is full of them
    if (!file.is_open() || file.bad()) throw std::runtime_error(path + ": cannot be read. Name a text file with one path a line.");
    if (!file.eof() || content.rfind("\xff\xfe", 0) == 0 || content.rfind("\xfe\xff", 0) == 0)
        throw std::runtime_error(path + ": is no text in UTF-8 (in UTF-16, perhaps). Save it as UTF-8, one path a line.");
    if (content.rfind("\xef\xbb\xbf", 0) == 0) content.erase(0, 3);
    std::vector<std::string> paths;
    std::istringstream lines(content);
    for (std::string line; std::getline(lines, line);) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        if (!line.empty()) paths.push_back(line);
    }
    if (paths.empty()) throw std::runtime_error(path + ": there is no path in this list.");
    return paths;
}

std::vector<std::string> list_pictures(const std::vector<std::string>& named) {
    std::vector<std::string> paths;
    for (const auto& name : named) {
        std::vector<std::string> found{name};
        if (is_folder(name))
            found = Walk(name).files();
        else if (lower(fs::path(name).extension()) == ".txt")
            found = read_list(name);
        if (found.empty()) throw std::runtime_error(name + ": there is no picture in this folder.");
        paths.insert(paths.end(), found.begin(), found.end());
    }
    return paths;
}

}  // namespace deploy
