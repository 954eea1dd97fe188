/*
 * Lets what is handed in run where glibc is older than on the machine that built it, down to 2.28 (x86-64 alone).
 *
 * A linker takes the newest version of each function of glibc. Where that came after 2.28, `ld --wrap=NAME` (CMakeLists.txt names the
 * same ones) sends all calls here, those in libstdc++ and the codecs too, and from here they go to the version of 2002.
 */
#include <sys/random.h>
#include <sys/stat.h>

#define OLD(NAME) __asm__(".symver old_" #NAME "," #NAME "@GLIBC_2.2.5")
#define FORWARD(NAME)                                                                                             \
    OLD(NAME);                                                                                                    \
    __asm__(".text\n.globl __wrap_" #NAME "\n.hidden __wrap_" #NAME "\n.type __wrap_" #NAME ", @function\n__wrap_" #NAME \
            ":\n\tjmp *old_" #NAME "@GOTPCREL(%rip)\n")

FORWARD(dladdr);
FORWARD(exp);
FORWARD(log);
FORWARD(log2);
FORWARD(pow);
FORWARD(pthread_create);
FORWARD(pthread_detach);
FORWARD(pthread_getspecific);
FORWARD(pthread_join);
FORWARD(pthread_key_create);
FORWARD(pthread_key_delete);
FORWARD(pthread_once);
FORWARD(pthread_setspecific);

/* Their old names have the version of `struct stat` as first argument. */
enum { STAT_VERSION = 1 };
int old___xstat(int, const char *, struct stat *);
int old___lxstat(int, const char *, struct stat *);
int old___fxstat(int, int, struct stat *);
OLD(__xstat);
OLD(__lxstat);
OLD(__fxstat);
int __wrap_stat(const char *path, struct stat *facts) { return old___xstat(STAT_VERSION, path, facts); }
int __wrap_lstat(const char *path, struct stat *facts) { return old___lxstat(STAT_VERSION, path, facts); }
int __wrap_fstat(int file, struct stat *facts) { return old___fxstat(STAT_VERSION, file, facts); }
int __wrap_fstat64(int file, struct stat *facts) { return old___fxstat(STAT_VERSION, file, facts); }

/* "There is one thread alone": a promise that lets libstdc++ leave out atomic operations. It is not made. */
char __wrap___libc_single_threaded = 0;

unsigned __wrap_arc4random(void) {
    unsigned value = 0;
    while (getrandom(&value, sizeof value, 0) != sizeof value) {
    }
    return value;
}
