/*
 * The interface of EV_SDK 3.0.3, through which the contest platform loads libji.so.
 *
 * The network is ../model/model.xml beside the folder of libji.so, with model.bin and labels.txt; where manifest.json lies there,
 * files that are not what it says are refused. Settings come from ../config/algo_config.json (optional), a JSON object of
 *
 *   model            file in ../model ("model.xml")
 *   threads          of inference; 0: all cores (0)
 *   cache            folder into which the compiled network may be written, so that later starts are faster; without it, nothing is
 *                    written, but a network that lies compiled in ../model/compiled is used on processors like that it was made on
 *   max_pixels       encoded pictures with more are refused before they are decoded (200000000)
 *   reject           the class is "unknown" where the confidence is below it, 0 to 1; 0: never (what the network was exported with)
 *   alert_classes    names of labels.txt that are an alert: event->code is JISDK_CODE_ALARM, "$is_alert" true ([])
 *   draw_result      is the class written on the picture that is given out? (true)
 *   draw_confidence  and its confidence? (true)
 *   language         such as "zh": event->json names classes as in mark_text_zh; "": as in labels.txt ("")
 *   mark_text_...    names in a language: of all classes, in the order of labels.txt, then the word for unknown
 *   answer           event->json: any JSON value, in which "$class", "$confidence", "$probabilities" (an object of all classes) and
 *                    "$is_alert" stand for what is answered. Its keys are lower-case letters, digits and underscores.
 *                    ({"class": "$class", "confidence": "$confidence", "probabilities": "$probabilities"})
 *
 * `args` is a JSON object of the same keys but model, threads and cache, which holds for one call; NULL or "": none. As the platform's
 * demos answer:
 *   {"answer": {"algorithm_data": {"is_alert": "$is_alert", "target_info": [{"name": "$class", "confidence": "$confidence"}]},
 *               "model_data": {"objects": [{"name": "$class", "confidence": "$confidence"}]}}}
 *
 * Every function returns JISDK_RET_SUCCEED or another of the codes below; none throws or ends the process.
 */
#ifndef JI_H
#define JI_H

#ifdef __cplusplus
extern "C" {
#endif

#define EV_SDK_VERSION "3.0.3"

#define JISDK_RET_SUCCEED 0
#define JISDK_RET_FAILED -1
#define JISDK_RET_UNUSED -2        /* not implemented */
#define JISDK_RET_INVALIDPARAMS -3 /* a NULL or senseless argument */
#define JISDK_RET_OFFLINE -9       /* this and those below are the platform's: a licence that is not needed here */
#define JISDK_RET_OVERMAXQPS -99
#define JISDK_RET_UNAUTHORIZED -999

#define JISDK_CODE_ALARM 0 /* one of alert_classes */
#define JISDK_CODE_NORMAL 1
#define JISDK_CODE_FAILED -1

#define JISDK_PREDICTOR_DEFAULT 0
#define JISDK_PREDICTOR_SEQUENTIAL 1
#define JISDK_PREDICTOR_NONSEQUENTIAL 2

/*
 * The fields of a cv::Mat. Read: 8 or 16 bits, grey, BGR or BGRA; written: CV_8UC3. `step`: bytes from row to row, of 16 bits an
 * even number.
 */
typedef struct {
    int rows;
    int cols;
    int type;
    void *data;
    int step;
} JI_CV_FRAME;

/*
 * code: JISDK_CODE_ALARM or JISDK_CODE_NORMAL with an answer, JISDK_CODE_FAILED without one.
 * json: the answer, or {"error": "..."}. It lives until the same thread's next call on that predictor, the predictor's
 * destruction or the thread's end, whatever other threads do meanwhile.
 */
typedef struct {
    int code;
    const char *json;
} JI_EVENT;

/*
 * The platform's rule: JISDK_RET_INVALIDPARAMS for fewer than six arguments, or where the first (licence) or sixth (its version) is
 * NULL. What they say is not looked at, and everything works without this call too.
 */
int ji_init(int argc, char **argv);
void ji_reinit(void);

/* The platform's test program asks for it. *version is to be given to free(). Weak: the licence library's own goes before. */
int ji_get_license_version(char **version);

/*
 * A predictor with a network of its own; it may be used from any thread, and waits while another thread uses it.
 * pdtype: JISDK_PREDICTOR_... or any other; all answer alike, as no answer depends on earlier pictures. NULL on failure, with the
 * reason on standard error.
 */
void *ji_create_predictor(int pdtype);
void ji_destroy_predictor(void *predictor);

/*
 * Classify one picture, given as pixels, as an encoded file in memory, or as the name of a file. The same picture gets
 * the same answer on each way; but a large JPEG that its owner decoded whole is not quite the same picture. `out` and `outFile`
 * receive the picture with its class written on it, in the size of the input; `out`, `outFile` and `event` may be NULL. out->data lives as long as event->json. What outFile ends in says which format is
 * written: .jpg, .jpeg or .png; where it cannot be written, the answer counts all the same, and the reason goes to standard error.
 * `args` that are no such object: JISDK_RET_INVALIDPARAMS, with the reason in event->json.
 * Files may be JPEG, PNG, WebP, BMP, TIFF, GIF (the first frame of those that move) or PNM.
 */
int ji_calc_frame(void *predictor, const JI_CV_FRAME *in, const char *args, JI_CV_FRAME *out, JI_EVENT *event);
int ji_calc_buffer(void *predictor, const void *buffer, int length, const char *args, const char *outFile, JI_EVENT *event);
int ji_calc_file(void *predictor, const char *inFile, const char *args, const char *outFile, JI_EVENT *event);

/* Not implemented: JISDK_RET_UNUSED, or JISDK_RET_INVALIDPARAMS without predictor or inFile. */
int ji_calc_video_file(void *predictor, const char *inFile, const char *args, const char *outFile, const char *jsonFile);

#ifdef __cplusplus
}
#endif

#endif
