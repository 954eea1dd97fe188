#include "output.h"

#include <nlohmann/json.hpp>

#include "json_text.h"

namespace deploy {
namespace {

/// Six decimals: far below what two JPEG decoders differ by.
std::string probability(float value) {
    char text[16];
    std::snprintf(text, sizeof text, "%.6f", value);
    return text;
}

class CsvWriter : public Writer {
  public:
    CsvWriter(std::ostream& out, const std::vector<std::string>& classes, float reject_below)
        : out_(out), classes_(classes), reject_below_(reject_below) {
        out_ << "path,class,confidence";
        for (const auto& name : classes_) out_ << ',' << csv_field("p_" + name);
        out_ << ",error\n";
    }

    void write(const Result& result) override {
        out_ << csv_field(result.path) << ',';
        if (result.answer) {
            const auto& [best, probabilities] = *result.answer;
            out_ << csv_field(class_of(*result.answer, classes_, reject_below_)) << ',' << probability(probabilities[best]);
            for (float value : probabilities) out_ << ',' << probability(value);
        } else {
            out_ << std::string(1 + classes_.size(), ',');
        }
        out_ << ',' << csv_field(result.error) << '\n';
    }

  private:
    std::ostream& out_;
    const std::vector<std::string> classes_;
    const float reject_below_;
};

class JsonWriter : public Writer {
  public:
    JsonWriter(std::ostream& out, const std::vector<std::string>& classes, float reject_below)
        : out_(out), classes_(classes), reject_below_(reject_below) {}

    void write(const Result& result) override {
        nlohmann::ordered_json row{{"path", result.path}};
        if (result.answer) {
            row["class"] = class_of(*result.answer, classes_, reject_below_);
            row["confidence"] = rounded(result.answer->probabilities[result.answer->best]);
            row["probabilities"] = named_probabilities(*result.answer, classes_);
        } else {
            row["error"] = result.error;
        }
        out_ << separator_ << to_text(row);
        separator_ = ",\n";
    }

    void finish() override { out_ << (separator_[0] == '[' ? "[" : "") << "\n]\n"; }

  private:
    std::ostream& out_;
    const std::vector<std::string> classes_;
    const float reject_below_;
    const char* separator_ = "[\n";
};

}  // namespace

std::unique_ptr<Writer> make_writer(const std::string& format, std::ostream& out, const std::vector<std::string>& classes,
                                    float reject_below) {
    if (format == "json") return std::make_unique<JsonWriter>(out, classes, reject_below);
    return std::make_unique<CsvWriter>(out, classes, reject_below);
}

std::string csv_field(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
    std::string quoted = "\"";
    for (char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    return quoted + '"';
}

}  // namespace deploy
