/* source.c - capturing what a config is made of. */
#include "config/source.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

enum { SOURCES_BYTES_MAX = 1 << 30, FILE_BYTES_MAX = 64 << 20 };

struct mg_sources {
    _Atomic int refs;
    struct mg_arena arena;
    struct mg_source_file **files;
    size_t files_n, files_room;
    struct mg_map by_name;
    struct mg_world world;
};

static char *const *copy_environment(struct mg_arena *a)
{
    size_t n = 0;
    char **copy;

    while (environ && environ[n])
        n++;
    copy = mg_arena_alloc(a, (n + 1) * sizeof(*copy));
    if (!copy)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        copy[i] = (char *)mg_arena_copy(a, environ[i], strlen(environ[i])).p;
        if (!copy[i])
            return NULL;
    }
    copy[n] = NULL;
    return copy;
}

struct mg_sources *mg_sources_new(void)
{
    struct mg_sources *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    mg_arena_init(&s->arena, NULL, SOURCES_BYTES_MAX);
    s->world.wall_us = mg_clock_wall_us();
    if (getrandom(&s->world.seed, sizeof(s->world.seed), 0) != (ssize_t)sizeof(s->world.seed))
        s->world.seed = (uint64_t)s->world.wall_us;
    s->world.env = copy_environment(&s->arena);
    if (!s->world.env) {
        mg_sources_unref(s);
        return NULL;
    }
    return s;
}

struct mg_sources *mg_sources_ref(struct mg_sources *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void mg_sources_unref(struct mg_sources *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    mg_map_deinit(&s->by_name);
    mg_arena_deinit(&s->arena);
    free(s->files);
    free(s);
}

const struct mg_source_file *mg_sources_find(const struct mg_sources *s, struct mg_str name)
{
    return mg_map_get(&s->by_name, name);
}

const struct mg_source_file *mg_sources_at(const struct mg_sources *s, size_t i)
{
    return i < s->files_n ? s->files[i] : NULL;
}

const struct mg_world *mg_sources_world(const struct mg_sources *s)
{
    return &s->world;
}

/* bytes: in the arena already. */
static struct mg_source_file *add(struct mg_sources *s, struct mg_str name, const char *path, struct mg_str bytes)
{
    struct mg_source_file *f = mg_arena_zalloc(&s->arena, sizeof(*f));

    if (!f)
        return NULL;
    f->name = mg_arena_copy(&s->arena, name.p, name.n);
    f->path = mg_arena_copy(&s->arena, path, strlen(path));
    f->bytes = bytes;
    if (!f->name.p || !f->path.p)
        return NULL;
    if (s->files_n == s->files_room) {
        size_t room = s->files_room ? s->files_room * 2 : 8;
        struct mg_source_file **files = realloc(s->files, room * sizeof(struct mg_source_file *));

        if (!files)
            return NULL;
        s->files = files;
        s->files_room = room;
    }
    if (mg_map_put(&s->by_name, f->name, f, NULL) != 0)
        return NULL;
    s->files[s->files_n++] = f;
    return f;
}

const struct mg_source_file *mg_sources_put(struct mg_sources *s, struct mg_str name, const char *path, struct mg_str bytes)
{
    struct mg_str copy = mg_arena_copy(&s->arena, bytes.p ? bytes.p : "", bytes.n);

    return copy.p ? add(s, name, path, copy) : NULL;
}

/* The whole of an open file into the arena; pipes and other endless things only up to the limit. */
static int read_all(struct mg_sources *s, int fd, const char *path, struct mg_str *out, struct mg_error *err)
{
    size_t n = 0, room = 16384;
    char *buf = malloc(room);
    ssize_t got = 1;

    while (buf && got > 0) {
        if (n == room) {
            char *grown = room < FILE_BYTES_MAX ? realloc(buf, room *= 2) : NULL;

            if (!grown) {
                free(buf);
                return mg_fail(err, MG_ETOOBIG, "%s: larger than a config's file may be", path);
            }
            buf = grown;
        }
        got = read(fd, buf + n, room - n);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            n += (size_t)got;
    }
    if (!buf)
        return mg_fail(err, MG_ENOMEM, "%s: out of memory", path);
    if (got == 0)
        *out = mg_arena_copy(&s->arena, buf, n);
    free(buf);
    if (got < 0)
        return mg_fail(err, MG_ENOENT, "%s: %s", path, strerror(errno));
    return out->p ? 0 : mg_fail(err, MG_ENOMEM, "%s: out of memory", path);
}

const struct mg_source_file *mg_sources_read(struct mg_sources *s, struct mg_str name, const char *path, struct mg_error *err)
{
    const struct mg_source_file *f = mg_sources_find(s, name);
    struct mg_str bytes = { 0 };
    struct stat st;
    int fd, rc;

    if (f)
        return f;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        mg_fail(err, MG_ENOENT, "%s: %s", path, strerror(errno));
        return NULL;
    }
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        close(fd);
        mg_fail(err, MG_ENOENT, "%s: is a directory", path);
        return NULL;
    }
    rc = read_all(s, fd, path, &bytes, err);
    close(fd);
    if (rc != 0)
        return NULL;
    f = add(s, name, path, bytes);
    if (!f)
        mg_fail(err, MG_ENOMEM, "%s: out of memory", path);
    return f;
}
