#include "net/hosts.h"
#include "base/alloc.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static void forget(struct mg_hosts *h)
{
    mg_free(h->text);
    h->text = NULL;
    h->n = 0;
    h->changed = (struct timespec){ 0 };
}

static void load(struct mg_hosts *h, int fd, size_t size)
{
    ssize_t got = 0;

    h->text = size && size <= MG_HOSTS_BYTES_MAX ? mg_malloc(size) : NULL;
    if (!h->text)
        return;
    while (h->n < size && (got = read(fd, h->text + h->n, size - h->n)) > 0)
        h->n += (size_t)got;
}

static void refresh(struct mg_hosts *h)
{
    struct stat st;
    int fd = open(h->path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0) {
        forget(h);
    } else if (!h->text || st.st_mtim.tv_sec != h->changed.tv_sec || st.st_mtim.tv_nsec != h->changed.tv_nsec ||
               (size_t)st.st_size != h->n) {
        forget(h);
        load(h, fd, (size_t)st.st_size);
        h->changed = st.st_mtim;
    }
    if (fd >= 0)
        close(fd);
}

static bool next_word(struct mg_str *line, struct mg_str *word)
{
    size_t n = 0;

    while (line->n && strchr(" \t\r", line->p[0])) {
        line->p++;
        line->n--;
    }
    while (n < line->n && !strchr(" \t\r", line->p[n]))
        n++;
    *word = mg_str(line->p, n);
    line->p += n;
    line->n -= n;
    return n > 0;
}

static bool next_line(struct mg_str *text, struct mg_str *line)
{
    const char *end, *comment;
    size_t n;

    if (!text->n)
        return false;
    end = memchr(text->p, '\n', text->n);
    n = end ? (size_t)(end - text->p) : text->n;
    comment = memchr(text->p, '#', n);
    *line = mg_str(text->p, comment ? (size_t)(comment - text->p) : n);
    n += end != NULL;
    text->p += n;
    text->n -= n;
    return true;
}

static bool names(struct mg_str line, struct mg_str name)
{
    struct mg_str word;

    while (next_word(&line, &word)) {
        if (mg_str_ieq(word, name))
            return true;
    }
    return false;
}

/* The lines of one family. */
static size_t find_family(const struct mg_hosts *h, int family, struct mg_str name, int port, struct mg_address *out,
                          size_t max)
{
    struct mg_str text = mg_str(h->text, h->n), line, ip;
    size_t n = 0;

    while (n < max && next_line(&text, &line)) {
        if (next_word(&line, &ip) && names(line, name) && mg_address_parse(ip, port, &out[n]) == 0 &&
            out[n].sa.ss_family == family)
            n++;
    }
    return n;
}

size_t mg_hosts_find(struct mg_hosts *h, struct mg_str name, int port, struct mg_address *out, size_t max)
{
    size_t n;

    refresh(h);
    n = find_family(h, AF_INET, name, port, out, max);
    return n + find_family(h, AF_INET6, name, port, out + n, max - n);
}

void mg_hosts_deinit(struct mg_hosts *h) { forget(h); }
