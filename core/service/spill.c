#include "service/spill.h"
#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct mg_spill *mg_spill_new(struct mg_loop *loop, struct mg_str folder, void (*on_event)(void *arg), void *arg)
{
    struct mg_spill *s = mg_calloc(1, sizeof *s);

    if (!s)
        return NULL;
    if (folder.n) {
        s->folder = mg_malloc(folder.n + 1);
        if (!s->folder) {
            mg_free(s);
            return NULL;
        }
        memcpy(s->folder, folder.p, folder.n);
        s->folder[folder.n] = 0;
    }
    s->loop = loop;
    s->on_event = on_event;
    s->arg = arg;
    s->fd = -1;
    s->read_at = -1;
    return s;
}

/* ---- on the pool ---- */

static int open_file(const char *folder)
{
    char path[4200];
    int fd;

    if (!folder)
        folder = getenv("TMPDIR");
    if (!folder || !*folder)
        folder = "/var/tmp";
    fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    snprintf(path, sizeof path, "%s/moongate-XXXXXX", folder);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    unlink(path);
    return fd;
}

static int write_all(struct mg_spill *s)
{
    size_t done = 0;

    if (s->fd < 0 && (s->fd = open_file(s->folder)) < 0)
        return s->fd;
    while (done < s->writing_n) {
        ssize_t n = pwrite(s->fd, s->writing + done, s->writing_n - done, s->written + (int64_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : UV_EIO;
        done += (size_t)n;
    }
    return 0;
}

static int read_some(struct mg_spill *s)
{
    size_t want = MG_SPILL_READ, got = 0;

    if ((int64_t)want > s->bytes - s->read_at)
        want = (size_t)(s->bytes - s->read_at);
    while (got < want) {
        ssize_t n = pread(s->fd, s->read + got, want - got, s->read_at + (int64_t)got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : UV_EIO;
        got += (size_t)n;
    }
    s->read_n = got;
    return 0;
}

static void work(uv_work_t *w)
{
    struct mg_spill *s = mg_container(w, struct mg_spill, work);

    if (s->is_closed) {
        if (s->fd >= 0)
            close(s->fd); /* freeing many blocks may take long */
        s->fd = -1;
    } else {
        s->error = s->reads ? read_some(s) : write_all(s);
    }
}

/* ---- on the worker ---- */

static void freed(struct mg_spill *s)
{
    mg_free(s->waiting);
    mg_free(s->writing);
    mg_free(s->read);
    mg_free(s->folder);
    mg_free(s);
}

static void worked(uv_work_t *w, int status);

static void begin(struct mg_spill *s)
{
    s->is_busy = true;
    if (uv_queue_work(&s->loop->uv, &s->work, work, worked)) {
        s->is_busy = false;
        s->error = UV_ENOMEM;
    }
}

static void write_more(struct mg_spill *s)
{
    char *p = s->writing;
    size_t room = s->writing_room;

    if (s->is_busy || s->error || !s->waiting_n)
        return;
    s->writing = s->waiting;
    s->writing_n = s->waiting_n;
    s->writing_room = s->waiting_room;
    s->waiting = p;
    s->waiting_room = room;
    s->waiting_n = 0;
    s->reads = false;
    begin(s);
}

static void worked(uv_work_t *w, int status)
{
    struct mg_spill *s = mg_container(w, struct mg_spill, work);

    s->is_busy = false;
    if (s->is_closed && s->fd < 0) {
        freed(s);
        return;
    }
    if (s->is_closed) {
        mg_spill_close(s);
        return;
    }
    if (status && !s->error)
        s->error = status;
    if (s->reads && s->error)
        s->read_at = -1;
    if (!s->reads && !s->error)
        s->written += (int64_t)s->writing_n;
    if (!s->reads)
        s->writing_n = 0;
    write_more(s);
    s->on_event(s->arg);
}

void mg_spill_close(struct mg_spill *s)
{
    s->is_closed = true;
    if (s->is_busy)
        return;
    if (s->fd < 0) {
        freed(s);
        return;
    }
    s->is_busy = true;
    if (uv_queue_work(&s->loop->uv, &s->work, work, worked)) {
        close(s->fd);
        freed(s);
    }
}

int mg_spill_write(struct mg_spill *s, const char *p, size_t n)
{
    size_t need = s->waiting_n + n;

    if (s->error)
        return s->error;
    if (need > s->waiting_room) {
        size_t room = need < 65536 ? 65536 : need + need / 2;
        char *q = mg_realloc(s->waiting, room);

        if (!q)
            return UV_ENOMEM;
        s->waiting = q;
        s->waiting_room = room;
    }
    if (n)
        memcpy(s->waiting + s->waiting_n, p, n);
    s->waiting_n = need;
    s->bytes += (int64_t)n;
    write_more(s);
    return s->error ? s->error : mg_spill_is_full(s);
}

int mg_spill_fetch(struct mg_spill *s, int64_t at)
{
    if (s->error)
        return s->error;
    if (s->is_busy)
        return 0;
    if (s->read_at == at)
        return 1;
    if (!s->read && !(s->read = mg_malloc(MG_SPILL_READ)))
        return UV_ENOMEM;
    s->read_at = at;
    s->reads = true;
    begin(s);
    return s->error;
}
