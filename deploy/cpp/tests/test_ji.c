/* libji.so as the platform uses it: from C, linked against ji.h alone. Argument: the red picture of write_networks. */
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

enum { ROWS = 12, COLS = 16, STEP = 64, CV_8UC1 = 0, CV_8UC3 = 16, CV_8UC4 = 24, CV_32FC3 = 21 };

static const char *red_png;

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

static void file_buffer_and_frame_answer_alike(void *predictor) {
    unsigned char data[ROWS * (STEP + 7)];
    char first[1024], *content;
    int length;
    JI_EVENT event;
    JI_CV_FRAME in, out;
    CHECK(ji_calc_file(predictor, red_png, NULL, NULL, &event) == JISDK_RET_SUCCEED);
    CHECK(event.code == JISDK_CODE_NORMAL);
    CHECK(strstr(event.json, "{\"name\":\"red \\\"one\\\"\",\"confidence\":0.9") == event.json);
    strcpy(first, event.json);
    content = read_all(red_png, &length);
    CHECK(ji_calc_buffer(predictor, content, length, "", NULL, &event) == JISDK_RET_SUCCEED);
    CHECK(strcmp(event.json, first) == 0);
    in = red_frame(data, CV_8UC3, 3);
    CHECK(ji_calc_frame(predictor, &in, NULL, &out, &event) == JISDK_RET_SUCCEED);
    CHECK(strcmp(event.json, first) == 0);
    CHECK(out.rows == ROWS && out.cols == COLS && out.type == CV_8UC3 && out.step >= 3 * COLS && out.data && out.data != in.data);
    in = red_frame(data, CV_8UC4, 4);
    CHECK(ji_calc_frame(predictor, &in, NULL, NULL, &event) == JISDK_RET_SUCCEED);
    CHECK(strcmp(event.json, first) == 0);
    in = red_frame(data, CV_8UC1, 1);
    CHECK(ji_calc_frame(predictor, &in, NULL, NULL, NULL) == JISDK_RET_SUCCEED);
    free(content);
}

static void senseless_arguments_are_refused(void *predictor) {
    unsigned char data[ROWS * (STEP + 7)];
    const JI_CV_FRAME good = red_frame(data, CV_8UC3, 3);
    JI_CV_FRAME frame;
    JI_EVENT event;
    CHECK(ji_create_predictor(-1) == NULL && ji_create_predictor(3) == NULL);
    CHECK(ji_calc_frame(NULL, &good, NULL, NULL, &event) == JISDK_RET_INVALIDPARAMS && event.code == JISDK_CODE_FAILED);
    CHECK(ji_calc_frame(predictor, NULL, NULL, NULL, NULL) == JISDK_RET_INVALIDPARAMS);
#define REFUSED(field, value) frame = good; frame.field = value; CHECK(ji_calc_frame(predictor, &frame, NULL, NULL, NULL) == JISDK_RET_INVALIDPARAMS)
    REFUSED(data, NULL);
    REFUSED(rows, 0);
    REFUSED(cols, -5);
    REFUSED(step, 3 * COLS - 1);
    REFUSED(type, CV_32FC3);
    REFUSED(type, -1);
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
    CHECK(ji_calc_file(predictor, red_png, NULL, "/nowhere/a.png", &event) == JISDK_RET_FAILED);
    CHECK(ji_calc_file(predictor, red_png, NULL, "/tmp/a.nonsense", &event) == JISDK_RET_FAILED);
    CHECK(strstr(event.json, "cannot be written"));
    CHECK(ji_calc_file(predictor, red_png, NULL, NULL, NULL) == JISDK_RET_SUCCEED);
}

static void *classify_often(void *predictor) {
    int i;
    JI_EVENT event;
    for (i = 0; i < 200; ++i) {
        CHECK(ji_calc_file(predictor, red_png, NULL, NULL, &event) == JISDK_RET_SUCCEED);
        CHECK(strstr(event.json, "red"));
    }
    return NULL;
}

static void predictors_work_in_threads_of_their_own(void *one) {
    pthread_t thread;
    void *two = ji_create_predictor(JISDK_PREDICTOR_NONSEQUENTIAL);
    CHECK(two);
    CHECK(pthread_create(&thread, NULL, classify_often, two) == 0);
    classify_often(one);
    pthread_join(thread, NULL);
    ji_destroy_predictor(two);
}

int main(int argc, char **argv) {
    void *predictor;
    CHECK(argc == 2);
    red_png = argv[1];
    CHECK(ji_init(argc, argv) == 0 && ji_init(0, NULL) == 0);
    ji_reinit();
    predictor = ji_create_predictor(JISDK_PREDICTOR_DEFAULT);
    CHECK(predictor);
    file_buffer_and_frame_answer_alike(predictor);
    senseless_arguments_are_refused(predictor);
    bad_pictures_fail_with_a_reason(predictor);
    predictors_work_in_threads_of_their_own(predictor);
    ji_destroy_predictor(predictor);
    ji_destroy_predictor(NULL);
    return 0;
}
