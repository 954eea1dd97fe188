/*
 * libji.so from C: prints what it answers for each picture, a line of JSON each.
 *
 *   cc answer.c -I../include -L../lib -lji -Wl,-rpath,'$ORIGIN/../lib' -o answer && ./answer picture.jpg
 */
#include <stdio.h>

#include "ji.h"

int main(int argc, char **argv) {
    int i, failed = 0;
    void *predictor;
    predictor = ji_create_predictor(JISDK_PREDICTOR_DEFAULT); /* ji_init takes the platform's licence, which is not needed */
    if (!predictor) return 1;
    for (i = 1; i < argc; ++i) {
        JI_EVENT event;
        if (ji_calc_file(predictor, argv[i], NULL, NULL, &event) != JISDK_RET_SUCCEED) failed = 1;
        puts(event.json);
    }
    ji_destroy_predictor(predictor);
    return failed;
}
