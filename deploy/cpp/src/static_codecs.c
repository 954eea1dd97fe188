/*
 * Static archives are made for programs: they reach stderr in a way that a shared library may reach only its own data. `ld --wrap=stderr`
 * sends them here.
 */
#include <stdio.h>

extern FILE *__real_stderr;
FILE *__wrap_stderr;
__attribute__((constructor(101))) static void find_stderr(void) { __wrap_stderr = __real_stderr; }
