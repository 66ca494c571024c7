/* stack.c - how much of the C stack is left. */
#include "script/stack.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

enum { ONE_COROUTINE = 4608 * 1024 };

static _Thread_local uintptr_t enough; /* an address: below it the stack is low. 0: not known yet */

/* A thread that was given less has five eighths of it for one coroutine. */
static uintptr_t measure(void)
{
    pthread_attr_t attr;
    void *end = NULL;
    size_t bytes = 0;

    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return 1;
    if (pthread_attr_getstack(&attr, &end, &bytes) != 0)
        bytes = 0;
    pthread_attr_destroy(&attr);
    return (uintptr_t)end + (bytes / 8 * 5 < ONE_COROUTINE ? bytes / 8 * 5 : ONE_COROUTINE) + 1;
}

bool mg_stack_is_low(void)
{
    if (!enough)
        enough = measure();
    return (uintptr_t)__builtin_frame_address(0) < enough;
}
