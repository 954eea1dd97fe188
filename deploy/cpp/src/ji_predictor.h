// What is behind a predictor of ji.h, in C++.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "ji.h"
#include "ji_config.h"
#include "names.h"
#include "request.h"

namespace deploy {

class JiPredictor {
  public:
    explicit JiPredictor(const JiConfig& config);

    /// `load` hands a picture to the request; then it is classified, drawn and written as ji.h says. Returns a code of ji.h.
    template <typename Load>
    int classify(Load load, JI_CV_FRAME* out, const char* out_file, JI_EVENT* event) {
        std::lock_guard lock(mutex_);
        try {
            load(request_);
            Answer answer = request_.infer();
            describe(answer);
            if (out || out_file) draw(answer);
            if (out_file) write_picture(out_file);
            if (out) *out = frame();
        } catch (const std::exception& error) {
            return fail(error.what(), event);
        }
        if (event) *event = {JISDK_CODE_NORMAL, json_.c_str()};
        return JISDK_RET_SUCCEED;
    }

  private:
    void describe(const Answer& answer);
    void draw(const Answer& answer);
    void write_picture(const std::string& path) const;
    JI_CV_FRAME frame();
    int fail(const std::string& reason, JI_EVENT* event);

    std::mutex mutex_;
    AnswerKeys keys_;
    Model model_;
    float reject_below_;
    Request request_;
    std::string names_file_;
    std::optional<Names> names_;  // read with the first picture that is drawn
    Image drawn_;
    std::string json_;
};

}  // namespace deploy
