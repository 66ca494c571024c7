/* sink.c - places for whole lines; base/sink.h writes them. */
#include "pdk/sink.h"
#include "base/sink.h"

#include <stdio.h>
#include <stdlib.h>

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
        char here[2048] = ".";

        if (!folder.n && !realpath(".", path))
            return fail(error, error_n, "the working folder is gone");
        if (!folder.n)
            snprintf(here, sizeof here, "%s", path);
        n = (size_t)snprintf(path, sizeof path, "%.*s/%.*s", folder.n ? (int)folder.n : (int)strlen(here), folder.n ? folder.p : here,
                             (int)name.n, name.p);
        if (n >= sizeof path)
            return fail(error, error_n, "the path is too long");
        name = mg_str(path, n);
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
    return mg_sink_line(sink, mg_str(line, n));
}
