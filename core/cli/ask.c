/* ask.c - a small HTTP client for the command line. */
#include "cli/ask.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "config/config.h"

enum { ANSWER_MAX = 256 << 20, WAIT_S = 120 };

char *mg_cli_admin(const struct mg_command *about, const char *path)
{
    struct mg_config *config = NULL;
    struct mg_error err = { 0 };
    const struct mg_value *v;
    char *text = NULL;

    if (mg_config_load(path, &config, &err) != 0) {
        mg_cli_fail(about, "%s", err.message);
        return NULL;
    }
    /* Its own word: "127.0.0.1:9901", or a table that begins with it. */
    v = mg_value_get(config->root, "admin");
    if (v && v->kind == MG_V_TABLE)
        v = mg_value_at(v, 0);
    if (v && v->kind == MG_V_STRING)
        text = strndup(v->text.p, v->text.n);
    else
        mg_cli_fail(about, "%s has no admin listener", path);
    mg_config_free(config);
    return text;
}

char *mg_cli_gateway(struct mg_cli *cli, const struct mg_command *about, const char *options)
{
    const char *admin = mg_cli_text(cli, "admin"), *config = mg_cli_text(cli, "config");

    cli->exit_code = MG_EXIT_FAILED;
    if (admin)
        return strdup(admin);
    if (config)
        return mg_cli_admin(about, config);
    mg_cli_fail(about, "which gateway? (%s)", options);
    cli->exit_code = MG_EXIT_USAGE;
    return NULL;
}

/* ---- connecting ------------------------------------------------------------------------------------ */

/* A signal came while it connected: that goes on. */
static bool goes_on(int fd)
{
    struct pollfd p = { fd, POLLOUT, 0 };
    socklen_t n = sizeof(int);
    int error = 0, rc;

    do
        rc = poll(&p, 1, WAIT_S * 1000);
    while (rc < 0 && errno == EINTR);
    if (rc == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0)
        return true;
    errno = error ? error : ETIMEDOUT;
    return false;
}

static int try_one(int family, const struct sockaddr *sa, socklen_t n)
{
    struct timeval wait = { .tv_sec = WAIT_S };
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), why;

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (connect(fd, sa, n) == 0 || (errno == EINTR && goes_on(fd)))
        return fd;
    why = errno;
    close(fd);
    errno = why;
    return -1;
}

static int connect_name(const struct mg_command *about, const char *address)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *all = NULL;
    const char *colon = strrchr(address, ':');
    char host[256];
    int fd = -1, rc;

    if (!colon || colon == address || !colon[1]) {
        mg_cli_fail(about, "\"%s\" is no address", address);
        return -1;
    }
    if (address[0] == '[' && colon[-1] == ']')
        snprintf(host, sizeof host, "%.*s", (int)(colon - address - 2), address + 1);
    else
        snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    rc = getaddrinfo(host, colon + 1, &hints, &all);
    if (rc != 0) {
        mg_cli_fail(about, "\"%s\" is no address: %s", address, gai_strerror(rc));
        return -1;
    }
    for (const struct addrinfo *a = all; a && fd < 0; a = a->ai_next)
        fd = try_one(a->ai_family, a->ai_addr, a->ai_addrlen);
    rc = errno;
    freeaddrinfo(all);
    if (fd < 0)
        mg_cli_fail(about, "%s: %s", address, strerror(rc));
    return fd;
}

static int connect_to(const struct mg_command *about, const char *address)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd;

    if (strncmp(address, "unix:", 5) != 0)
        return connect_name(about, address);
    snprintf(un.sun_path, sizeof un.sun_path, "%s", address + 5);
    fd = try_one(AF_UNIX, (const struct sockaddr *)&un, sizeof un);
    if (fd < 0)
        mg_cli_fail(about, "%s: %s", address, strerror(errno));
    return fd;
}

/* ---- plain or TLS ----------------------------------------------------------------------------------- */

struct line { int fd; SSL_CTX *ctx; SSL *ssl; };

static bool line_tls(struct line *l, const char *name, bool insecure)
{
    l->ctx = SSL_CTX_new(TLS_client_method());
    if (!l->ctx)
        return false;
    SSL_CTX_set_default_verify_paths(l->ctx);
    SSL_CTX_set_verify(l->ctx, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    l->ssl = SSL_new(l->ctx);
    return l->ssl && SSL_set_tlsext_host_name(l->ssl, name) == 1 && SSL_set1_host(l->ssl, name) == 1 && SSL_set_fd(l->ssl, l->fd) == 1 &&
           SSL_connect(l->ssl) == 1;
}

static void line_close(struct line *l)
{
    SSL_free(l->ssl);
    SSL_CTX_free(l->ctx);
    close(l->fd);
}

static bool line_send(struct line *l, const char *p, size_t n)
{
    while (n) {
        ssize_t sent = l->ssl ? SSL_write(l->ssl, p, n > 1 << 20 ? 1 << 20 : (int)n) : send(l->fd, p, n, MSG_NOSIGNAL);

        if (sent < 0 && !l->ssl && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static char *line_read(struct line *l, size_t *n)
{
    size_t room = 65536;
    char *text = malloc(room + 1), *more;
    ssize_t got = 1;

    *n = 0;
    while (text && got > 0 && *n < ANSWER_MAX) {
        if (*n == room) {
            room *= 2;
            more = realloc(text, room + 1);
            if (!more)
                break;
            text = more;
        }
        got = l->ssl ? SSL_read(l->ssl, text + *n, (int)(room - *n)) : recv(l->fd, text + *n, room - *n, 0);
        if (got < 0 && !l->ssl && errno == EINTR) { /* stopped and continued, or a Ctrl-C that is looked at later */
            got = 1;
            continue;
        }
        *n += got > 0 ? (size_t)got : 0;
    }
    if (text)
        text[*n] = '\0';
    return text;
}

/* ---- the answer -------------------------------------------------------------------------------------- */

struct mg_str mg_cli_field(const struct mg_asked *a, const char *name)
{
    struct mg_str rest = a->head, line;

    while (rest.n && mg_str_next(&rest, '\n', &line)) {
        const char *colon = memchr(line.p, ':', line.n);

        line.n -= line.p[line.n - 1] == '\r';
        if (colon && mg_str_ieq(mg_str(line.p, (size_t)(colon - line.p)), mg_str_c(name)))
            return mg_str_trim(mg_str(colon + 1, (size_t)(line.p + line.n - colon - 1)));
    }
    return mg_str(NULL, 0);
}

/* Chunks without their frames, in place; what is malformed ends it. */
static size_t dechunked(char *p, size_t n)
{
    char *out = p, *at = p, *end = p + n;

    while (at < end) {
        char *line = memchr(at, '\n', (size_t)(end - at));
        unsigned long size = strtoul(at, NULL, 16);

        if (!line || size == 0 || size > (size_t)(end - line - 1))
            break;
        memmove(out, line + 1, size);
        out += size;
        at = line + 1 + size + 2;
    }
    return (size_t)(out - p);
}

static bool understand(struct mg_asked *out, size_t n)
{
    char *text = out->text, *head = text, *end;

    for (;;) { /* interim answers are passed over */
        end = strstr(head, "\r\n\r\n");
        if (!end || sscanf(head, "HTTP/1.%*d %d", &out->status) != 1)
            return false;
        if (out->status >= 200)
            break;
        head = end + 4;
    }
    out->head = mg_str(head, (size_t)(end + 2 - head));
    out->body = mg_str(end + 4, n - (size_t)(end + 4 - text));
    if (mg_str_ieq(mg_cli_field(out, "transfer-encoding"), MG_STR("chunked")))
        out->body.n = dechunked(end + 4, out->body.n);
    end[4 + out->body.n] = '\0';
    return true;
}

int mg_cli_ask(const struct mg_command *about, const char *address, const char *server_name, bool insecure, struct mg_str request, struct mg_asked *out)
{
    struct line l = { .fd = connect_to(about, address) };
    size_t n = 0;

    memset(out, 0, sizeof *out);
    if (l.fd < 0)
        return MG_EXIT_FAILED;
    if (server_name && !line_tls(&l, server_name, insecure)) {
        const char *why = ERR_reason_error_string(ERR_peek_error());

        mg_cli_fail(about, "%s: TLS: %s", address, why ? why : "the handshake failed");
        line_close(&l);
        return MG_EXIT_FAILED;
    }
    if (line_send(&l, request.p, request.n))
        out->text = line_read(&l, &n);
    line_close(&l);
    if (out->text && understand(out, n))
        return 0;
    free(out->text);
    out->text = NULL;
    return mg_cli_fail(about, "%s gave no answer", address);
}

int mg_cli_get(const struct mg_command *about, const char *address, const char *path, struct mg_asked *out)
{
    char request[1024];
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", path);

    if (n < 0 || (size_t)n >= sizeof request)
        return mg_cli_fail(about, "that is too long to ask for");
    return mg_cli_ask(about, address, NULL, false, mg_str(request, (size_t)n), out);
}
