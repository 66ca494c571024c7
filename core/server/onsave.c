#include "server/onsave.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/list.h"
#include "base/log.h"
#include "server/gateway.h"

enum { QUIET_MS = 100, MISSING_MS = 500, FOLDERS_MAX = 256 };

struct folder {
    struct mg_list node;
    uv_fs_event_t event;
    struct mg_onsave *onsave;
    bool is_watched;
    bool is_wanted;
    char path[];
};

struct mg_onsave {
    struct mg_gateway *gateway;
    uv_timer_t quiet;            /* since the last change */
    uv_timer_t missing;          /* a folder is not there */
    struct mg_list folders;
    int folders_n;
    int handles;                 /* that are not closed yet */
    bool is_ending;
    char *root;                  /* the config's folder */
};

static void freed(struct mg_onsave *o)
{
    if (--o->handles == 0 && o->is_ending) {
        free(o->root);
        free(o);
    }
}

static void folder_closed(uv_handle_t *h)
{
    struct folder *f = h->data;
    struct mg_onsave *o = f->onsave;

    free(f);
    freed(o);
}

static void timer_closed(uv_handle_t *h)
{
    freed(h->data);
}

/* ---- changes ---- */

static void on_quiet(uv_timer_t *timer)
{
    struct mg_onsave *o = timer->data;

    if (o->gateway->state == MG_GW_SERVING)
        mg_reload_ask(&o->gateway->reload, NULL);
}

static bool ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);

    return n > m && strcmp(name + n - m, ending) == 0;
}

static bool is_file_name(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');

    return strcmp(slash ? slash + 1 : path, name) == 0;
}

/* Sources have whatever names they like. */
static bool concerns(const struct mg_onsave *o, const char *name)
{
    const struct mg_snapshot *s = o->gateway->snapshot;
    const struct mg_source_file *f;

    if (ends_with(name, ".lua") || ends_with(name, ".so") || is_file_name(o->gateway->options.config, name))
        return true;
    for (size_t i = 0; s && (f = mg_sources_at(s->config->sources, i)); i++)
        if (is_file_name(f->path.p, name))
            return true;
    return false;
}

static void look_again(struct mg_onsave *o);

static void on_change(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct folder *f = event->data;

    (void)events;
    if (status < 0 || !name || access(f->path, F_OK) != 0) {
        f->is_watched = false;
        uv_fs_event_stop(event);
        look_again(f->onsave);
    } else if (!concerns(f->onsave, name)) {
        return;
    }
    uv_timer_start(&f->onsave->quiet, on_quiet, QUIET_MS, 0);
}

/* ---- what is watched ---- */

static bool watch(struct folder *f)
{
    if (!f->is_watched)
        f->is_watched = uv_fs_event_start(&f->event, on_change, f->path, 0) == 0;
    return f->is_watched;
}

/* One that has come back counts as a change. */
static void on_missing(uv_timer_t *timer)
{
    struct mg_onsave *o = timer->data;
    bool is_done = true, came_back = false;

    mg_list_each(n, &o->folders)
    {
        struct folder *f = mg_container(n, struct folder, node);

        if (f->is_watched)
            continue;
        if (watch(f))
            came_back = true;
        else
            is_done = false;
    }
    if (is_done)
        uv_timer_stop(timer);
    if (came_back)
        uv_timer_start(&o->quiet, on_quiet, QUIET_MS, 0);
}

static void look_again(struct mg_onsave *o)
{
    uv_timer_start(&o->missing, on_missing, MISSING_MS, MISSING_MS);
}

static void want(struct mg_onsave *o, const char *path, size_t n)
{
    struct folder *f;

    mg_list_each(node, &o->folders)
    {
        f = mg_container(node, struct folder, node);
        if (strlen(f->path) == n && memcmp(f->path, path, n) == 0) {
            f->is_wanted = true;
            return;
        }
    }
    if (o->folders_n >= FOLDERS_MAX || !(f = calloc(1, sizeof *f + n + 1)))
        return;
    memcpy(f->path, path, n);
    f->onsave = o;
    f->is_wanted = true;
    f->event.data = f;
    uv_fs_event_init(&o->gateway->control.worker.loop.uv, &f->event);
    o->handles++;
    o->folders_n++;
    mg_list_push(&o->folders, &f->node);
    if (!watch(f))
        look_again(o);
}

/* The folder that a file is in; relative paths count from the config's. */
static void want_file(struct mg_onsave *o, struct mg_str path)
{
    char whole[4096], *slash;

    if (!mg_onsave_find(o->root, path, whole, sizeof whole))
        return;
    slash = strrchr(whole, '/');
    if (slash && slash != whole)
        want(o, whole, (size_t)(slash - whole));
}

static void drop_unwanted(struct mg_onsave *o, bool all)
{
    mg_list_each(n, &o->folders)
    {
        struct folder *f = mg_container(n, struct folder, node);

        if (f->is_wanted && !all)
            continue;
        mg_list_remove(&f->node);
        o->folders_n--;
        uv_close((uv_handle_t *)&f->event, folder_closed);
    }
}

static void want_snapshot(struct mg_onsave *o, const struct mg_snapshot *s)
{
    const struct mg_source_file *f;

    for (size_t i = 0; (f = mg_sources_at(s->config->sources, i)); i++)
        want_file(o, f->path);
    for (size_t i = 0; i < mg_registry_folders(s->registry); i++) {
        struct mg_str folder = mg_registry_folder(s->registry, i);

        if (access(folder.p, F_OK) == 0)
            want(o, folder.p, folder.n);
    }
}

/* After a failure nothing is let go of, and the files that mistakes name come in. */
static void want_mistaken(struct mg_onsave *o, const char *text)
{
    struct mg_str rest = mg_str_c(text), line;

    while (mg_str_next(&rest, '\n', &line)) {
        struct mg_str path;
        int number;

        mg_onsave_place(line, &path, &number);
        if (path.n)
            want_file(o, path);
    }
}

void mg_onsave_told(struct mg_onsave *o, bool ok, const char *text)
{
    const struct mg_snapshot *s = o->gateway->snapshot;

    if (ok) {
        mg_list_each(n, &o->folders)
            mg_container(n, struct folder, node)->is_wanted = false;
    } else {
        mg_onsave_show(STDERR_FILENO, o->root, text);
        want_mistaken(o, text);
    }
    want(o, o->root, strlen(o->root));
    if (s && s->config)
        want_snapshot(o, s);
    drop_unwanted(o, false);
    if (ok && mg_log_fd() != STDERR_FILENO)
        dprintf(STDERR_FILENO, "moongate: %s\n", text);
}

/* ---- beginning and end ---- */

struct mg_onsave *mg_onsave_new(struct mg_gateway *g)
{
    struct mg_onsave *o = calloc(1, sizeof *o);
    char *real = realpath(g->options.config, NULL), *slash = real ? strrchr(real, '/') : NULL;

    if (!o || (real && !slash)) {
        free(real);
        free(o);
        return NULL;
    }
    if (slash)
        slash[slash == real] = '\0';
    o->root = real ? real : strdup(".");
    o->gateway = g;
    mg_list_init(&o->folders);
    uv_timer_init(&g->control.worker.loop.uv, &o->quiet);
    uv_timer_init(&g->control.worker.loop.uv, &o->missing);
    o->quiet.data = o->missing.data = o;
    o->handles = 2;
    return o;
}

void mg_onsave_free(struct mg_onsave *o)
{
    if (!o)
        return;
    o->is_ending = true;
    drop_unwanted(o, true);
    uv_close((uv_handle_t *)&o->quiet, timer_closed);
    uv_close((uv_handle_t *)&o->missing, timer_closed);
}
