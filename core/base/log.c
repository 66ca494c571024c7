#include "base/log.h"
#include "base/clock.h"
#include "base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 16384, FIELDS_MAX_BYTES = 8192, MESSAGE_MAX_BYTES = 8192 };

/* One log for the process. The lock keeps a line's write and a reopening apart; lines are rare. */
static struct {
    pthread_mutex_t lock;
    atomic_int level;
    atomic_bool json, colour;
    int fd;
    char path[PATH_MAX];
} the_log = { .lock = PTHREAD_MUTEX_INITIALIZER, .level = MG_LOG_INFO, .fd = STDERR_FILENO };

/* Of this thread: fields that wait for its next line, written out already. */
static _Thread_local struct {
    char bytes[FIELDS_MAX_BYTES];
    struct mg_text text;
    bool json;
} pending;
static _Thread_local const struct mg_log_scope *scope;
static _Thread_local void (*capture)(int level, struct mg_str text, void *arg);
static _Thread_local void *capture_arg;

/* ---- where lines go ---- */

static int open_file(const char *path, struct mg_error *err)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);

    if (fd < 0)
        return mg_fail(err, MG_ECONF, "log: %s: %s", path, strerror(errno));
    return fd;
}

/* Puts fd in the place of the one in use. Under the lock. */
static void use_fd(int fd)
{
    int before = the_log.fd;

    __atomic_store_n(&the_log.fd, fd, __ATOMIC_RELEASE); /* mg_log_fd takes no lock */
    if (before != STDERR_FILENO)
        close(before);
}

int mg_log_configure(const struct mg_log_conf *conf, struct mg_error *err)
{
    int fd = STDERR_FILENO;

    if (conf->path && strlen(conf->path) >= sizeof(the_log.path))
        return mg_fail(err, MG_ECONF, "log: the path is longer than %zu bytes", sizeof(the_log.path) - 1);
    if (conf->path && (fd = open_file(conf->path, err)) < 0)
        return fd;
    pthread_mutex_lock(&the_log.lock);
    use_fd(fd);
    snprintf(the_log.path, sizeof(the_log.path), "%s", conf->path ? conf->path : "");
    pthread_mutex_unlock(&the_log.lock);
    atomic_store(&the_log.level, conf->level);
    atomic_store(&the_log.json, conf->json);
    atomic_store(&the_log.colour, !conf->path && isatty(STDERR_FILENO) == 1);
    return 0;
}

int mg_log_reopen(struct mg_error *err)
{
    int fd = 0;

    pthread_mutex_lock(&the_log.lock);
    if (the_log.path[0]) {
        fd = open_file(the_log.path, err);
        if (fd >= 0)
            use_fd(fd);
    }
    pthread_mutex_unlock(&the_log.lock);
    return fd < 0 ? fd : 0;
}

static void write_line(const char *p, size_t n)
{
    pthread_mutex_lock(&the_log.lock);
    while (n) {
        ssize_t done = write(the_log.fd, p, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0) /* nobody is left to tell */
            break;
        p += done;
        n -= (size_t)done;
    }
    pthread_mutex_unlock(&the_log.lock);
}

void mg_log_capture(void (*line)(int level, struct mg_str text, void *arg), void *arg)
{
    capture = line;
    capture_arg = arg;
}

void mg_log_set_scope(const struct mg_log_scope *s) { scope = s; }

int mg_log_enabled(int level) { return level >= atomic_load_explicit(&the_log.level, memory_order_relaxed); }

/* ---- fields ---- */

static bool is_bare(struct mg_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c <= 0x20 || c == '"' || c == '=' || c == '\\' || c == 0x7f)
            return false;
    }
    return s.n > 0;
}

/* " name=" or ,"name": */
static void put_name(struct mg_text *t, bool json, struct mg_str name)
{
    mg_text_put_c(t, json ? ",\"" : " ");
    mg_text_escape(t, name, json ? MG_TEXT_JSON : MG_TEXT_PLAIN);
    mg_text_put_c(t, json ? "\":" : "=");
}

static void put_text_field(struct mg_text *t, bool json, struct mg_str name, struct mg_str value)
{
    size_t before = t->n;

    put_name(t, json, name);
    if (!json && is_bare(value)) {
        mg_text_escape(t, value, MG_TEXT_PLAIN);
    } else {
        mg_text_put_c(t, "\"");
        mg_text_escape(t, value, MG_TEXT_JSON);
        mg_text_put_c(t, "\"");
    }
    if (t->was_cut) /* a field is there whole or not at all */
        t->n = before;
}

static struct mg_text *fields_open(void)
{
    if (!pending.text.p)
        mg_text_init(&pending.text, pending.bytes, sizeof(pending.bytes));
    if (!pending.text.n)
        pending.json = !capture && atomic_load(&the_log.json);
    pending.text.was_cut = false;
    return &pending.text;
}

void mg_log_text(const char *name, size_t name_n, const char *p, size_t n)
{
    struct mg_text *t = fields_open();

    put_text_field(t, pending.json, mg_str(name, name_n), mg_str(p, n));
}

static void put_word_field(const char *name, size_t name_n, const char *word, double number)
{
    struct mg_text *t = fields_open();
    size_t before = t->n;

    put_name(t, pending.json, mg_str(name, name_n));
    if (word)
        mg_text_put_c(t, word);
    else
        mg_text_number(t, number);
    if (t->was_cut)
        t->n = before;
}

void mg_log_number(const char *name, size_t name_n, double value) { put_word_field(name, name_n, NULL, value); }
void mg_log_boolean(const char *name, size_t name_n, int value)
{
    put_word_field(name, name_n, value ? "true" : "false", 0);
}
void mg_log_text_c(const char *name, struct mg_str value) { mg_log_text(name, strlen(name), value.p, value.n); }
void mg_log_number_c(const char *name, double value) { mg_log_number(name, strlen(name), value); }

/* ---- lines ---- */

static void put_time(struct mg_text *t)
{
    int64_t us = mg_clock_wall_us();
    time_t s = (time_t)(us / 1000000);
    struct tm tm;
    char text[40];
    size_t n;

    gmtime_r(&s, &tm);
    n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof(text) - n, ".%03dZ", (int)(us / 1000 % 1000));
    mg_text_put_c(t, text);
}

static const char *level_word(int level)
{
    static const char *const words[] = { "debug", "info", "warn", "error" };

    return words[level < 0 ? 0 : level > 3 ? 3 : level];
}

static void put_level(struct mg_text *t, int level)
{
    static const char *const colours[] = { "\033[2m", "", "\033[33m", "\033[31m" };
    bool colour = atomic_load(&the_log.colour);
    char word[8];

    snprintf(word, sizeof(word), "%-5s", level_word(level));
    if (colour)
        mg_text_put_c(t, colours[level < 0 ? 0 : level > 3 ? 3 : level]);
    mg_text_put_c(t, word);
    if (colour)
        mg_text_put_c(t, "\033[0m");
}

static void put_scope_and_fields(struct mg_text *t, bool json)
{
    if (scope) {
        struct mg_str id = scope->id_of ? scope->id_of(scope->of) : scope->id;

        if (scope->plugin.n)
            put_text_field(t, json, MG_STR("plugin"), scope->plugin);
        if (scope->route.n)
            put_text_field(t, json, MG_STR("route"), scope->route);
        if (id.n)
            put_text_field(t, json, MG_STR("id"), id);
    }
    if (pending.text.n && pending.json == json)
        mg_text_put(t, pending.text.p, pending.text.n);
}

/* As much of the message as fits in the line beside its fields. */
static void put_message(struct mg_text *t, struct mg_str message, enum mg_text_escape how)
{
    size_t max = t->max;

    t->max = t->n + MESSAGE_MAX_BYTES;
    mg_text_escape(t, message, how);
    t->max = max;
    if (t->was_cut)
        mg_text_put_c(t, "...");
    t->was_cut = false;
}

static void put_json_line(struct mg_text *t, int level, struct mg_str message)
{
    mg_text_put_c(t, "{\"time\":\"");
    put_time(t);
    mg_text_put_c(t, "\",\"level\":\"");
    mg_text_put_c(t, level_word(level));
    mg_text_put_c(t, "\",\"message\":\"");
    put_message(t, message, MG_TEXT_JSON);
    mg_text_put_c(t, "\"");
    put_scope_and_fields(t, true);
    t->max++;
    mg_text_put_c(t, "}");
}

static void put_text_line(struct mg_text *t, int level, struct mg_str message)
{
    put_time(t);
    mg_text_put_c(t, " ");
    put_level(t, level);
    mg_text_put_c(t, " ");
    put_message(t, message, MG_TEXT_PLAIN);
    put_scope_and_fields(t, false);
}

void mg_log(int level, const char *message, size_t message_n)
{
    char line[LINE_MAX_BYTES + 2]; /* room for the brace and the newline */
    struct mg_text t;

    if (!mg_log_enabled(level)) {
        pending.text.n = 0;
        return;
    }
    mg_text_init(&t, line, LINE_MAX_BYTES);
    if (capture) {
        put_message(&t, mg_str(message, message_n), MG_TEXT_PLAIN);
        put_scope_and_fields(&t, false);
        pending.text.n = 0;
        capture(level, mg_str(line, t.n), capture_arg);
        return;
    }
    if (atomic_load(&the_log.json))
        put_json_line(&t, level, mg_str(message, message_n));
    else
        put_text_line(&t, level, mg_str(message, message_n));
    pending.text.n = 0;
    line[t.n] = '\n';
    write_line(line, t.n + 1);
}

void mg_logf(int level, const char *fmt, ...)
{
    char message[2048];
    va_list ap;
    int n;

    if (!mg_log_enabled(level)) {
        pending.text.n = 0;
        return;
    }
    va_start(ap, fmt);
    n = vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    mg_log(level, message, (size_t)n < sizeof(message) ? (size_t)n : sizeof(message) - 1);
}

int mg_log_fd(void) { return __atomic_load_n(&the_log.fd, __ATOMIC_ACQUIRE); }
