/*
 * The interface of EV_SDK 3.0, through which the contest platform loads libji.so.
 *
 * The network is ../model/model.xml beside the folder of libji.so, with model.bin and labels.txt; an optional
 * ../config/config.json may hold any of
 *   {"model": "model.xml", "threads": 0, "max_pixels": 200000000, "reject": 0.6,
 *    "keys": {"class": "class", "confidence": "confidence", "probabilities": "probabilities"}}
 * threads: of inference, 0 for all cores. max_pixels: encoded pictures with more are refused before they are decoded. model:
 * relative to ../model. reject: the class is "unknown" where the confidence is below it, 0 to 1, 0 for never; without it, what the
 * network was exported with. Where manifest.json lies beside the model, files that are not what it says are refused.
 *
 * Every function returns JISDK_RET_SUCCEED or another of the codes below; none throws or ends the process.
 * `args` may be NULL and is not looked at: a classifier has nothing to be told about a picture.
 */
#ifndef JI_H
#define JI_H

#ifdef __cplusplus
extern "C" {
#endif

#define JISDK_RET_SUCCEED 0
#define JISDK_RET_FAILED -1
#define JISDK_RET_UNUSED -2        /* not implemented */
#define JISDK_RET_INVALIDPARAMS -3 /* a NULL or senseless argument */
#define JISDK_RET_UNAUTHORIZED -999

#define JISDK_CODE_ALARM 0
#define JISDK_CODE_NORMAL 1
#define JISDK_CODE_FAILED -1

#define JISDK_PREDICTOR_DEFAULT 0
#define JISDK_PREDICTOR_SEQUENTIAL 1
#define JISDK_PREDICTOR_NONSEQUENTIAL 2

/* The fields of a cv::Mat. Read: 8 or 16 bits, grey, BGR or BGRA; written: CV_8UC3. `step`: bytes from row to row. */
typedef struct {
    int rows;
    int cols;
    int type;
    void *data;
    int step;
} JI_CV_FRAME;

/*
 * code: JISDK_CODE_NORMAL with an answer, JISDK_CODE_FAILED without one.
 * json: {"class": "...", "confidence": 0.93, "probabilities": {...}}, or {"error": "..."}.
 */
typedef struct {
    int code;
    const char *json;
} JI_EVENT;

/* May be called any number of times, or not at all; the arguments are not looked at. */
int ji_init(int argc, char **argv);
void ji_reinit(void);

/*
 * A predictor with a network of its own; it may be used from any thread, and waits while another thread uses it.
 * pdtype: JISDK_PREDICTOR_...; they all answer alike, as no answer depends on earlier pictures. NULL on failure, with the
 * reason on standard error.
 */
void *ji_create_predictor(int pdtype);
void ji_destroy_predictor(void *predictor);

/*
 * Classify one picture, given as pixels, as an encoded file in memory, or as the name of a file. The same picture gets
 * the same answer on each way. `out` and `outFile` receive the picture with its class written on it, in the size of the
 * input; `out`, `outFile` and `event` may be NULL. event->json and out->data belong to the predictor, until the
 * next call on it or its destruction. What outFile ends in says which format is written: .jpg, .jpeg or .png.
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
