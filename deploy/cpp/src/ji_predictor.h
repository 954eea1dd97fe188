// What is behind a predictor of ji.h, in C++.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

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
    int classify(Load load, const char* args, JI_CV_FRAME* out, const char* out_file, JI_EVENT* event) {
        std::lock_guard lock(mutex_);
        Reply& reply = replies_[std::this_thread::get_id()];
        Finding finding;
        try {
            const bool has_args = args && *args;
            const JiSettings other = has_args ? changed(settings_, args, model_.classes) : JiSettings();
            const JiSettings& settings = has_args ? other : settings_;
            request_.limit(settings.max_pixels);
            load(request_);
            Answer answer = request_.infer();
            finding = judge(answer, settings);
            reply.json = describe(answer, finding, settings);
            if (out || out_file) draw(finding, settings, reply.drawn);
            if (out_file) write_picture(out_file, reply.drawn);
            if (out) *out = frame(reply.drawn);
        } catch (const ArgsError& error) {
            return fail(JISDK_RET_INVALIDPARAMS, error.what(), reply, event);
        } catch (const std::exception& error) {
            return fail(JISDK_RET_FAILED, error.what(), reply, event);
        }
        if (event) *event = {finding.is_alert ? JISDK_CODE_ALARM : JISDK_CODE_NORMAL, reply.json.c_str()};
        return JISDK_RET_SUCCEED;
    }

  private:
    /// What a thread was given and may still look at.
    struct Reply {
        std::string json;
        Image drawn;
    };
    struct Finding {
        size_t name = 0;  // index of the class, or their number for the unknown
        float confidence = 0;
        bool is_alert = false;
    };

    Finding judge(const Answer& answer, const JiSettings& settings) const;
    std::string describe(const Answer& answer, const Finding& finding, const JiSettings& settings) const;
    void draw(const Finding& finding, const JiSettings& settings, Image& drawn);
    static void write_picture(const std::string& path, const Image& drawn);
    static JI_CV_FRAME frame(Image& drawn);
    static int fail(int code, const std::string& reason, Reply& reply, JI_EVENT* event);

    std::mutex mutex_;
    const JiSettings settings_;
    Model model_;
    std::vector<std::string> labels_;  // the classes, and the word for unknown
    Request request_;
    std::string names_file_;
    std::optional<Names> names_;                // read with the first picture that is drawn
    std::map<std::thread::id, Reply> replies_;  // a thread takes over that of one that has ended and had the same id
};

}  // namespace deploy
