/* starve.c - preloaded into the gateway: the nth allocation that its own code asks for fails, once.
 *
 * STARVE names a file that the test has mapped as well: two 32-bit words, the count down to the failure (0: none is due) and the
 * number of failures so far. Libraries are left alone: only calls out of the executable and its plugins count. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t count, size_t n);
extern void *__libc_realloc(void *p, size_t n);

static struct control { _Atomic int32_t due; _Atomic uint32_t failures; } *control;
static uintptr_t from, to; /* the executable */

static int find_executable(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

        if (info->dlpi_phdr[i].p_type != PT_LOAD)
            continue;
        from = from && from < at ? from : at;
        to = to > at + info->dlpi_phdr[i].p_memsz ? to : at + info->dlpi_phdr[i].p_memsz;
    }
    return 1; /* the first is the executable */
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("STARVE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *p;

    dl_iterate_phdr(find_executable, NULL);
    if (fd < 0)
        return;
    p = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED)
        control = p;
}

static int must_fail(void *caller)
{
    uintptr_t at = (uintptr_t)caller;

    if (!control || atomic_load_explicit(&control->due, memory_order_relaxed) <= 0 || at < from || at >= to)
        return 0;
    if (atomic_fetch_sub(&control->due, 1) != 1)
        return 0;
    atomic_fetch_add(&control->failures, 1);
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n) { return must_fail(__builtin_return_address(0)) ? NULL : __libc_malloc(n); }
void *calloc(size_t count, size_t n) { return must_fail(__builtin_return_address(0)) ? NULL : __libc_calloc(count, n); }
void *realloc(void *p, size_t n) { return must_fail(__builtin_return_address(0)) ? NULL : __libc_realloc(p, n); }
