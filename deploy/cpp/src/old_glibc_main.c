/*
 * The start of a program, as old_glibc.c does it for functions. Since 2.34 it is glibc that runs the constructors of the program, before
 * that it was the program itself. To the old version of __libc_start_main, which newer ones still have, it says how.
 */
#define HIDDEN __attribute__((visibility("hidden")))
typedef void Constructor(int, char **, char **);
typedef int Main(int, char **, char **);

extern void _init(void);
extern Constructor *__init_array_start[] HIDDEN, *__init_array_end[] HIDDEN;

static void construct(int argc, char **argv, char **environment) {
    Constructor **constructor = __init_array_start;
    _init();
    for (; constructor < __init_array_end; ++constructor) (*constructor)(argc, argv, environment);
}

int old___libc_start_main(Main *, int, char **, Constructor *, void (*)(void), void (*)(void), void *);
__asm__(".symver old___libc_start_main,__libc_start_main@GLIBC_2.2.5");

int __wrap___libc_start_main(Main *main, int argc, char **argv, Constructor *init, void (*fini)(void), void (*rtld_fini)(void), void *stack) {
    (void)init;
    return old___libc_start_main(main, argc, argv, construct, fini, rtld_fini, stack);
}
