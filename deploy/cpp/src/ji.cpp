// The C boundary: checks arguments, lets no exception out. What is done stands in ji_predictor.cpp.
#include "ji.h"

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>

#include "ji_predictor.h"

#define JI_EXPORT __attribute__((visibility("default")))

namespace {

using deploy::JiPredictor;

int refuse(JI_EVENT* event) {
    if (event) *event = {JISDK_CODE_FAILED, R"({"error": "a NULL or senseless argument, see ji.h"})"};
    return JISDK_RET_INVALIDPARAMS;
}

bool is_empty(const char* text) { return !text || !*text; }

/// NULL means that no picture is to be written; an empty name is a mistake.
bool is_senseless(const char* out_file) { return out_file && !*out_file; }

/// 16-bit values lie at even places.
bool is_aligned(const JI_CV_FRAME& in) {
    const int bytes = deploy::Frame{0, 0, in.type, nullptr, 0}.bytes_per_value();
    return in.step % bytes == 0 && uintptr_t(in.data) % bytes == 0;
}

bool is_sensible(const JI_CV_FRAME* in) {
    return in && in->data && in->rows > 0 && in->cols > 0 && deploy::is_readable_type(in->type) &&
           in->step >= long(in->cols) * long(deploy::Frame{0, 0, in->type, nullptr, 0}.bytes_per_pixel()) && is_aligned(*in);
}

template <typename Load>
int classify(void* predictor, Load load, const char* args, JI_CV_FRAME* out, const char* out_file, JI_EVENT* event) {
    try {
        return static_cast<JiPredictor*>(predictor)->classify(load, args, out, out_file, event);
    } catch (...) {  // out of memory while an error is being described
        if (event) *event = {JISDK_CODE_FAILED, R"({"error": "out of memory"})"};
        return JISDK_RET_FAILED;
    }
}

}  // namespace

extern "C" {

JI_EXPORT int ji_init(int argc, char** argv) {
    return argc < 6 || !argv || !argv[0] || !argv[5] ? JISDK_RET_INVALIDPARAMS : JISDK_RET_SUCCEED;
}

JI_EXPORT void ji_reinit(void) {}

JI_EXPORT __attribute__((weak)) int ji_get_license_version(char** version) {
    if (!version) return JISDK_RET_INVALIDPARAMS;
    *version = strdup("none: libji.so needs no licence");
    return *version ? JISDK_RET_SUCCEED : JISDK_RET_FAILED;
}

JI_EXPORT void* ji_create_predictor(int) {
    try {
        return new JiPredictor(deploy::read_ji_config());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "libji: %s\n", error.what());
    } catch (...) {
        std::fprintf(stderr, "libji: unknown failure\n");
    }
    return nullptr;
}

JI_EXPORT void ji_destroy_predictor(void* predictor) { delete static_cast<JiPredictor*>(predictor); }

JI_EXPORT int ji_calc_frame(void* predictor, const JI_CV_FRAME* in, const char* args, JI_CV_FRAME* out, JI_EVENT* event) {
    if (!predictor || !is_sensible(in)) return refuse(event);
    auto load = [&](deploy::Request& request) { request.load_pixels({in->rows, in->cols, in->type, in->data, size_t(in->step)}); };
    return classify(predictor, load, args, out, nullptr, event);
}

JI_EXPORT int ji_calc_buffer(void* predictor, const void* buffer, int length, const char* args, const char* outFile, JI_EVENT* event) {
    if (!predictor || !buffer || length <= 0 || is_senseless(outFile)) return refuse(event);
    auto load = [&](deploy::Request& request) {
        auto* bytes = static_cast<const unsigned char*>(buffer);
        request.load_bytes(deploy::Bytes(bytes, bytes + length));
    };
    return classify(predictor, load, args, nullptr, outFile, event);
}

JI_EXPORT int ji_calc_file(void* predictor, const char* inFile, const char* args, const char* outFile, JI_EVENT* event) {
    if (!predictor || is_empty(inFile) || is_senseless(outFile)) return refuse(event);
    auto load = [&](deploy::Request& request) { request.load_file(inFile); };
    return classify(predictor, load, args, nullptr, outFile, event);
}

JI_EXPORT int ji_calc_video_file(void* predictor, const char* inFile, const char*, const char*, const char*) {
    return !predictor || is_empty(inFile) ? JISDK_RET_INVALIDPARAMS : JISDK_RET_UNUSED;
}

}  // extern "C"
