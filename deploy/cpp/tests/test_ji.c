/*
 * libji.so as the platform's test program uses it: from C, linked with -lji alone. Argument: the red picture of write_networks,
 * whose answer is known (B, G, R of 20, 60, 220: the softmax of (220 - 100) / 50, (60 - 100) / 40, (20 - 100) / 25).
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ji.h"

#define CHECK(condition)                                                           \
    do {                                                                           \
        if (!(condition)) {                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                               \
        }                                                                          \
    } while (0)

enum { ROWS = 12, COLS = 16, STEP = 64, CV_8UC1 = 0, CV_16UC1 = 2, CV_8UC3 = 16, CV_8UC4 = 24, CV_32FC3 = 21 };

static const char *red_png;
static char red[1024]; /* its answer */

static int says_red(const JI_EVENT *event) { return event->code == JISDK_CODE_NORMAL && strcmp(event->json, red) == 0; }

/* The red picture as pixels of 1, 3 or 4 bytes, with rows longer than they need to be. */
static JI_CV_FRAME red_frame(unsigned char *data, int type, int bytes) {
    static const unsigned char bgra[] = {20, 60, 220, 255};
    JI_CV_FRAME frame = {ROWS, COLS, type, data, STEP + 7};
    int x, y;
    for (y = 0; y < ROWS; ++y)
        for (x = 0; x < COLS; ++x) memcpy(data + y * (STEP + 7) + x * bytes, bgra, bytes);
    return frame;
}

static char *read_all(const char *path, int *length) {
    FILE *file = fopen(path, "rb");
    char *content = malloc(1 << 16);
    CHECK(file && content);
    *length = (int)fread(content, 1, 1 << 16, file);
    fclose(file);
    return content;
}

static void the_platform_starts_as_it_does(void) {
    char text[] = "1", *argv[] = {text, NULL, NULL, NULL, NULL, text, NULL}, *version = NULL;
    CHECK(strcmp(EV_SDK_VERSION, "3.0.3") == 0 && JISDK_RET_OFFLINE == -9 && JISDK_RET_OVERMAXQPS == -99);
    CHECK(ji_get_license_version(&version) == JISDK_RET_SUCCEED && version && *version);
    free(version);
    CHECK(ji_get_license_version(NULL) == JISDK_RET_INVALIDPARAMS);
    CHECK(ji_init(0, NULL) == JISDK_RET_INVALIDPARAMS && ji_init(5, argv) == JISDK_RET_INVALIDPARAMS);
    CHECK(ji_init(6, argv) == JISDK_RET_SUCCEED && ji_init(7, argv) == JISDK_RET_SUCCEED);
    argv[5] = NULL;
    CHECK(ji_init(6, argv) == JISDK_RET_INVALIDPARAMS);
    ji_reinit();
}

static void file_buffer_and_frame_answer_alike(void *predictor) {
    unsigned char data[ROWS * (STEP + 7)], before[ROWS * (STEP + 7)];
    const char *start = "{\"name\":\"red \\\"one\\\"\",\"confidence\":";
    char *content, *copy;
    int length;
    JI_EVENT event;
    JI_CV_FRAME in, out;
    CHECK(ji_calc_file(predictor, red_png, NULL, NULL, &event) == JISDK_RET_SUCCEED);
    CHECK(event.code == JISDK_CODE_NORMAL && strncmp(event.json, start, strlen(start)) == 0);
    CHECK(fabs(strtod(event.json + strlen(start), NULL) - 0.964254) < 2e-6);
    strcpy(red, event.json);
    content = read_all(red_png, &length);
    copy = read_all(red_png, &length);
    CHECK(ji_calc_buffer(predictor, content, length, "", NULL, &event) == JISDK_RET_SUCCEED);
    CHECK(says_red(&event) && memcmp(content, copy, length) == 0);
    in = red_frame(data, CV_8UC3, 3);
    memcpy(before, data, sizeof before);
    CHECK(ji_calc_frame(predictor, &in, NULL, &out, &event) == JISDK_RET_SUCCEED);
    CHECK(says_red(&event) && memcmp(data, before, sizeof before) == 0);
    CHECK(out.rows == ROWS && out.cols == COLS && out.type == CV_8UC3 && out.step >= 3 * COLS && out.data && out.data != in.data);
    in = red_frame(data, CV_8UC4, 4);
    CHECK(ji_calc_frame(predictor, &in, NULL, NULL, &event) == JISDK_RET_SUCCEED);
    CHECK(says_red(&event));
    in = red_frame(data, CV_8UC1, 1);
    CHECK(ji_calc_frame(predictor, &in, NULL, NULL, NULL) == JISDK_RET_SUCCEED);
    free(content);
    free(copy);
}

static void args_hold_for_one_call(void *predictor) {
    JI_EVENT event;
    const char *args = "{\"reject\": 1, \"answer\": {\"algorithm_data\": {\"is_alert\": \"$is_alert\", \"target_info\": [\"$class\"]}}}";
    CHECK(ji_calc_file(predictor, red_png, args, NULL, &event) == JISDK_RET_SUCCEED && event.code == JISDK_CODE_NORMAL);
    CHECK(strcmp(event.json, "{\"algorithm_data\":{\"is_alert\":false,\"target_info\":[\"unknown\"]}}") == 0);
    args = "{\"alert_classes\": [\"red \\\"one\\\"\"], \"answer\": \"$is_alert\"}";
    CHECK(ji_calc_file(predictor, red_png, args, NULL, &event) == JISDK_RET_SUCCEED && event.code == JISDK_CODE_ALARM);
    CHECK(strcmp(event.json, "true") == 0);
    CHECK(ji_calc_file(predictor, red_png, "roi", NULL, &event) == JISDK_RET_INVALIDPARAMS && event.code == JISDK_CODE_FAILED);
    CHECK(strstr(event.json, "{\"error\":\"args: ") == event.json);
    CHECK(ji_calc_file(predictor, red_png, "", NULL, &event) == JISDK_RET_SUCCEED && says_red(&event));
}

static void senseless_arguments_are_refused(void *predictor) {
    unsigned char data[ROWS * (STEP + 7)];
    const JI_CV_FRAME good = red_frame(data, CV_8UC3, 3);
    JI_CV_FRAME frame;
    JI_EVENT event;
    CHECK(ji_calc_frame(NULL, &good, NULL, NULL, &event) == JISDK_RET_INVALIDPARAMS && event.code == JISDK_CODE_FAILED);
    CHECK(ji_calc_frame(predictor, NULL, NULL, NULL, NULL) == JISDK_RET_INVALIDPARAMS);
#define REFUSED(field, value) frame = good; frame.field = value; CHECK(ji_calc_frame(predictor, &frame, NULL, NULL, NULL) == JISDK_RET_INVALIDPARAMS)
    REFUSED(data, NULL);
    REFUSED(rows, 0);
    REFUSED(cols, -5);
    REFUSED(step, 3 * COLS - 1);
    REFUSED(type, CV_32FC3);
    REFUSED(type, -1);
    frame = red_frame(data, CV_16UC1, 2);
    CHECK(ji_calc_frame(predictor, &frame, NULL, NULL, NULL) == JISDK_RET_INVALIDPARAMS); /* the step is odd */
    frame.step -= 1;
    CHECK(ji_calc_frame(predictor, &frame, NULL, NULL, NULL) == JISDK_RET_SUCCEED);
    CHECK(ji_calc_buffer(predictor, NULL, 5, NULL, NULL, NULL) == JISDK_RET_INVALIDPARAMS);
    CHECK(ji_calc_buffer(predictor, data, 0, NULL, NULL, NULL) == JISDK_RET_INVALIDPARAMS);
    CHECK(ji_calc_buffer(predictor, data, -1, NULL, NULL, NULL) == JISDK_RET_INVALIDPARAMS);
    CHECK(ji_calc_file(NULL, red_png, NULL, NULL, NULL) == JISDK_RET_INVALIDPARAMS);
    CHECK(ji_calc_file(predictor, NULL, NULL, NULL, NULL) == JISDK_RET_INVALIDPARAMS);
    CHECK(ji_calc_file(predictor, "", NULL, NULL, NULL) == JISDK_RET_INVALIDPARAMS);
    CHECK(ji_calc_file(predictor, red_png, NULL, "", NULL) == JISDK_RET_INVALIDPARAMS);
    CHECK(ji_calc_video_file(predictor, red_png, NULL, NULL, NULL) == JISDK_RET_UNUSED);
    CHECK(ji_calc_video_file(predictor, NULL, NULL, NULL, NULL) == JISDK_RET_INVALIDPARAMS);
}

static void bad_pictures_fail_with_a_reason(void *predictor) {
    JI_EVENT event;
    CHECK(ji_calc_file(predictor, "/nowhere/a \"b\".jpg", NULL, NULL, &event) == JISDK_RET_FAILED);
    CHECK(event.code == JISDK_CODE_FAILED && strstr(event.json, "No such file"));
    CHECK(ji_calc_buffer(predictor, "hello", 5, NULL, NULL, &event) == JISDK_RET_FAILED);
    CHECK(strstr(event.json, "{\"error\":\"not an image"));
    CHECK(ji_calc_file(predictor, red_png, NULL, "/nowhere/a.png", &event) == JISDK_RET_SUCCEED);
    CHECK(says_red(&event));
}

static void *classify_often(void *predictor) {
    int i;
    JI_EVENT event;
    for (i = 0; i < 100; ++i) {
        CHECK(ji_calc_file(predictor, red_png, NULL, NULL, &event) == JISDK_RET_SUCCEED);
        CHECK(says_red(&event));
    }
    return NULL;
}

/* One predictor for all, while each thread reads what it was answered, and a predictor of its own. */
static void threads_do_not_disturb_each_other(void *shared) {
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    void *own = ji_create_predictor(JISDK_PREDICTOR_NONSEQUENTIAL);
    unsigned char data[ROWS * (STEP + 7)];
    JI_CV_FRAME in = red_frame(data, CV_8UC3, 3), out;
    JI_EVENT kept;
    unsigned char *drawn;
    int i, size;
    CHECK(own);
    CHECK(ji_calc_frame(shared, &in, NULL, &out, &kept) == JISDK_RET_SUCCEED);
    size = out.step * out.rows;
    drawn = malloc(size);
    CHECK(drawn);
    memcpy(drawn, out.data, size);
    for (i = 0; i < THREADS; ++i) CHECK(pthread_create(&threads[i], NULL, classify_often, i % 2 ? own : shared) == 0);
    for (i = 0; i < 1000; ++i) CHECK(says_red(&kept) && memcmp(drawn, out.data, size) == 0);
    for (i = 0; i < THREADS; ++i) pthread_join(threads[i], NULL);
    CHECK(says_red(&kept) && memcmp(drawn, out.data, size) == 0);
    free(drawn);
    ji_destroy_predictor(own);
}

static void predictors_come_and_go(void) {
    static const int types[] = {JISDK_PREDICTOR_SEQUENTIAL, JISDK_PREDICTOR_NONSEQUENTIAL, 7, -1};
    unsigned char data[ROWS * (STEP + 7)];
    JI_CV_FRAME in = red_frame(data, CV_8UC3, 3), out;
    JI_EVENT event;
    int i;
    for (i = 0; i < 8; ++i) {
        void *predictor = ji_create_predictor(types[i % 4]);
        CHECK(predictor);
        CHECK(ji_calc_frame(predictor, &in, "", &out, &event) == JISDK_RET_SUCCEED && says_red(&event));
        ji_destroy_predictor(predictor);
    }
    ji_destroy_predictor(NULL);
}

int main(int argc, char **argv) {
    void *predictor;
    CHECK(argc == 2);
    red_png = argv[1];
    predictor = ji_create_predictor(JISDK_PREDICTOR_DEFAULT); /* ji_init is not needed */
    CHECK(predictor);
    file_buffer_and_frame_answer_alike(predictor);
    the_platform_starts_as_it_does();
    args_hold_for_one_call(predictor);
    senseless_arguments_are_refused(predictor);
    bad_pictures_fail_with_a_reason(predictor);
    threads_do_not_disturb_each_other(predictor);
    ji_destroy_predictor(predictor);
    predictors_come_and_go();
    return 0;
}
