/* sink.c - places for whole lines; base/sink.h writes them. */
#include "pdk/sink.h"
#include "base/sink.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static _Thread_local struct mg_str folder;

void mg_sink_folder(struct mg_str f)
{
    folder = f;
}

static struct mg_sink *fail(char *error, size_t room, const char *message)
{
    if (error && room)
        snprintf(error, room, "%s", message);
    return NULL;
}

/* A relative path, made absolute. */
static bool here(char *path, size_t room, struct mg_str name)
{
    char top[PATH_MAX];
    struct mg_str f = folder;
    int n;

    if (!f.n) {
        if (!getcwd(top, sizeof top))
            return false;
        f = mg_str_c(top);
    }
    n = snprintf(path, room, "%.*s/%.*s", (int)f.n, f.p, (int)name.n, name.p);
    return n > 0 && (size_t)n < room;
}

struct mg_sink *mg_sink_open(const char *where, size_t n, char *error, size_t error_n)
{
    static const struct mg_str words[] = { { "stdout", 6 }, { "stderr", 6 }, { "syslog", 6 } };
    struct mg_str name = mg_str(where, n);
    char path[4096];
    struct mg_error err = { 0 };
    struct mg_sink *s;

    if (!n || memchr(where, 0, n))
        return fail(error, error_n, "not a path");
    for (int i = 0; i < 3; i++)
        if (mg_str_eq(name, words[i]))
            goto open;
    if (where[0] != '/') {
        if (!here(path, sizeof path, name))
            return fail(error, error_n, "the path is too long");
        name = mg_str_c(path);
    }
open:
    s = mg_sink_ref(name, &err);
    return s ? s : fail(error, error_n, err.message[0] ? err.message : "cannot be opened");
}

void mg_sink_close(struct mg_sink *sink)
{
    if (sink)
        mg_sink_unref(sink);
}

int mg_sink_write(struct mg_sink *sink, const char *line, size_t n)
{
    return sink ? mg_sink_line(sink, mg_str(line, n)) : MG_EINVAL;
}
