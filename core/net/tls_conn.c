#include "net/stream_private.h"
#include "net/tls_private.h"
#include "base/alloc.h"
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

/* A read brings at most MG_READ_BYTES, and OpenSSL may hold the beginning of one more record. */
enum { PLAIN_BYTES = MG_READ_BYTES + 20480, WIRE_BYTES = 5 * 16640, RECORD_BYTES = 16384 };

struct mg_tls_conn {
    SSL *ssl;
    struct mg_tls *tls;
    const char *in; /* what is left of the slice just read */
    size_t in_n;
    struct mg_block *first, *last; /* plaintext that gathers, in records' size */
    bool got_close, sent_close;
    char name[];
};

/* ---- the BIO: reads the slice just received, writes into the loop's wire buffer ---- */

static void send_wire(struct mg_stream *s)
{
    size_t n = s->loop->wire_n;

    s->loop->wire_n = 0;
    if (n)
        mg_out_send(s, s->loop->wire_buffer, n, NULL, 0);
}

static int bio_write(BIO *bio, const char *p, int n)
{
    struct mg_stream *s = BIO_get_data(bio);
    struct mg_loop *loop = s->loop;

    BIO_clear_retry_flags(bio);
    if (n <= 0)
        return 0;
    if ((size_t)n > WIRE_BYTES - loop->wire_n)
        send_wire(s);
    if (n > WIRE_BYTES) {
        mg_out_send(s, p, (size_t)n, NULL, 0);
        return n;
    }
    memcpy(loop->wire_buffer + loop->wire_n, p, (size_t)n);
    loop->wire_n += (size_t)n;
    return n;
}

static int bio_read(BIO *bio, char *p, int n)
{
    struct mg_stream *s = BIO_get_data(bio);
    struct mg_tls_conn *c = s->tls;
    size_t part = n < 0 ? 0 : (size_t)n < c->in_n ? (size_t)n : c->in_n;

    BIO_clear_retry_flags(bio);
    if (!part) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(p, c->in, part);
    c->in += part;
    c->in_n -= part;
    return (int)part;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *p)
{
    (void)bio, (void)num, (void)p;
    return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_DUP;
}

static BIO_METHOD *method;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_method(void)
{
    method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "moongate stream");
    if (!method)
        return;
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_ctrl(method, bio_ctrl);
}

/* ---- life ---- */

static int ensure_buffers(struct mg_loop *loop)
{
    if (!loop->plain_buffer)
        loop->plain_buffer = mg_malloc(PLAIN_BYTES);
    if (!loop->wire_buffer)
        loop->wire_buffer = mg_malloc(WIRE_BYTES);
    return loop->plain_buffer && loop->wire_buffer ? 0 : UV_ENOMEM;
}

static bool is_literal(const char *name)
{
    unsigned char a[16];

    return inet_pton(AF_INET, name, a) == 1 || inet_pton(AF_INET6, name, a) == 1;
}

/* SNI (names only: RFC 6066, 3), and what the certificate must say. */
static bool expect_name(struct mg_tls_conn *c)
{
    if (!c->name[0])
        return !c->tls->verify;
    if (is_literal(c->name))
        return !c->tls->verify || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), c->name) == 1;
    SSL_set_hostflags(c->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(c->ssl, c->name) == 1 && (!c->tls->verify || SSL_set1_host(c->ssl, c->name) == 1);
}

static int set_up(struct mg_stream *s, struct mg_tls_conn *c)
{
    BIO *bio;

    pthread_once(&once, make_method);
    c->ssl = SSL_new(c->tls->ctx);
    bio = method ? BIO_new(method) : NULL;
    if (!c->ssl || !bio) {
        BIO_free(bio);
        return UV_ENOMEM;
    }
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    SSL_set_app_data(c->ssl, c);
    if (c->tls->is_server) {
        SSL_set_accept_state(c->ssl);
        return 0;
    }
    SSL_set_connect_state(c->ssl);
    return expect_name(c) ? 0 : MG_ETLS;
}

static void resume_session(struct mg_tls_conn *c)
{
    SSL_SESSION *session = mg_tls_session_get(c->tls, c->name);

    if (session)
        SSL_set_session(c->ssl, session);
    SSL_SESSION_free(session);
}

int mg_tls_conn_open(struct mg_stream *s, struct mg_tls *tls, const char *server_name)
{
    const char *name = tls->server_name ? tls->server_name : server_name ? server_name : "";
    size_t n = strlen(name);
    struct mg_tls_conn *c;
    int rc;

    if (ensure_buffers(s->loop) < 0)
        return UV_ENOMEM;
    c = mg_calloc(1, sizeof(*c) + n + 1);
    if (!c)
        return UV_ENOMEM;
    if (n && name[n - 1] == '.') /* a root dot belongs to DNS alone */
        n--;
    memcpy(c->name, name, n);
    c->tls = mg_tls_ref(tls);
    s->tls = c;
    ERR_clear_error();
    rc = set_up(s, c);
    if (rc == 0 && !tls->is_server)
        resume_session(c);
    return rc; /* what was made goes when the stream closes */
}

void mg_tls_conn_drop(struct mg_stream *s)
{
    mg_blocks_free(s->loop, &s->tls->first, &s->tls->last);
    s->plain_bytes = 0;
}

void mg_tls_conn_free(struct mg_stream *s)
{
    struct mg_tls_conn *c = s->tls;

    mg_tls_conn_drop(s);
    if (c->ssl) /* else OpenSSL takes an unclean end for a reason not to resume the session */
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
    mg_tls_unref(c->tls);
    mg_free(c);
    s->tls = NULL;
}

const char *mg_tls_conn_name(const SSL *ssl)
{
    const struct mg_tls_conn *c = SSL_get_app_data(ssl);

    return c->name;
}

SSL *mg_tls_conn_ssl(const struct mg_stream *s) { return s->tls ? s->tls->ssl : NULL; }

/* Give back record buffers, as SSL_MODE_RELEASE_BUFFERS does for reading only (OpenSSL 3.0 keeps the one for writing:
 * 16.5 KB for each idle connection). Not between a record's header and its body (CVE-2024-4741). */
static void release_buffers(struct mg_tls_conn *c)
{
    if (strcmp(SSL_rstate_string(c->ssl), "RB") != 0)
        SSL_free_buffers(c->ssl);
}

/* ---- errors ---- */

static const char *why(struct mg_tls_conn *c)
{
    static _Thread_local char text[200];
    long verify = SSL_get_verify_result(c->ssl);

    if (!c->tls->is_server && c->tls->verify && verify != X509_V_OK)
        snprintf(text, sizeof(text), "certificate of %s not accepted: %s", c->name, X509_verify_cert_error_string(verify));
    else
        snprintf(text, sizeof(text), "%s", mg_tls_reason());
    return text;
}

/* In a callback of the loop: tell at once. */
static void fail_now(struct mg_stream *s, const char *text)
{
    send_wire(s); /* the alert that says so to the peer */
    if (s->is_closing)
        return;
    s->is_broken = 1;
    s->error = 0;
    mg_out_drop(s);
    mg_tls_conn_drop(s);
    if (s->is_open)
        mg_stream_tell_end(s, MG_ETLS);
    else if (!s->has_ended)
        mg_stream_tell_open(s, MG_ETLS, text);
    if (!s->is_closing)
        mg_out_check_drain(s);
}

/* ---- bytes in ---- */

/* false: not done yet, or failed, or the owner has closed in on_open. */
static bool handshake(struct mg_stream *s)
{
    struct mg_tls_conn *c = s->tls;
    int rc, error;

    ERR_clear_error();
    rc = SSL_do_handshake(c->ssl);
    error = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, rc);
    if (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ) {
        fail_now(s, why(c));
        return false;
    }
    send_wire(s);
    if (error == SSL_ERROR_WANT_READ || s->is_broken)
        return false;
    release_buffers(c);
    mg_stream_tell_open(s, 0, "");
    mg_stream_dirty(s); /* what was written before */
    return !s->is_closing && !s->is_broken;
}

static void hand_up(struct mg_stream *s, size_t n)
{
    send_wire(s);
    s->bytes_in += n;
    if (n)
        s->events->on_data(s, s->loop->plain_buffer, n);
}

static void read_plain(struct mg_stream *s)
{
    struct mg_tls_conn *c = s->tls;
    size_t got = 0;
    int rc, error;

    for (;;) {
        ERR_clear_error();
        rc = SSL_read(c->ssl, s->loop->plain_buffer + got, (int)(PLAIN_BYTES - got));
        if (rc <= 0)
            break;
        got += (size_t)rc;
        if (got < PLAIN_BYTES)
            continue;
        hand_up(s, got);
        got = 0;
        if (s->is_closing || s->is_broken)
            return;
    }
    error = SSL_get_error(c->ssl, rc);
    if (!c->tls->is_server)
        release_buffers(c); /* a session ticket has OpenSSL set up the one for writing */
    hand_up(s, got);
    if (s->is_closing || s->is_broken || error == SSL_ERROR_WANT_READ)
        return;
    if (error == SSL_ERROR_ZERO_RETURN) {
        c->got_close = true;
        mg_stream_tell_end(s, UV_EOF);
    } else {
        fail_now(s, "");
    }
}

void mg_tls_conn_start(struct mg_stream *s) { handshake(s); }

void mg_tls_conn_read(struct mg_stream *s, const char *p, size_t n)
{
    struct mg_tls_conn *c = s->tls;

    if (c->got_close || s->is_broken) /* whatever follows close_notify counts for nothing (RFC 8446, 6.1) */
        return;
    c->in = p;
    c->in_n = n;
    if (s->is_open || handshake(s))
        read_plain(s);
    c->in = NULL;
    c->in_n = 0;
}

/* An end without close_notify may be somebody's who cut the connection (RFC 8446, 6.1): a body that ends
 * with the connection must not pass for whole. */
void mg_tls_conn_eof(struct mg_stream *s)
{
    if (!s->tls->got_close && !s->is_broken)
        fail_now(s, "the peer closed the connection during the handshake");
}

/* ---- bytes out ---- */

static void encrypt(struct mg_stream *s, const char *p, size_t n)
{
    while (n && !s->is_broken) {
        int part = n > (1 << 30) ? 1 << 30 : (int)n, rc;

        ERR_clear_error();
        rc = SSL_write(s->tls->ssl, p, part);
        if (rc <= 0) {
            s->loop->wire_n = 0;
            mg_stream_fail(s, MG_ETLS);
            return;
        }
        p += rc;
        n -= (size_t)rc;
    }
}

static void encrypt_gathered(struct mg_stream *s)
{
    struct mg_tls_conn *c = s->tls;
    struct mg_block *b;

    if (!c->first)
        return;
    while ((b = c->first)) {
        c->first = b->next;
        if (!b->next)
            c->last = NULL;
        s->plain_bytes -= b->to;
        encrypt(s, b->bytes, b->to);
        mg_block_give(s->loop, b);
    }
    release_buffers(c);
}

struct mg_block *mg_tls_conn_room(struct mg_stream *s, size_t n)
{
    return mg_blocks_room(s->loop, &s->tls->first, &s->tls->last, n);
}

static size_t gather(struct mg_stream *s, const char *p, size_t n)
{
    struct mg_block *b = mg_tls_conn_room(s, 1);
    size_t part;

    if (!b) {
        mg_stream_fail(s, UV_ENOMEM);
        return n;
    }
    part = MG_BLOCK_ROOM - b->to < n ? MG_BLOCK_ROOM - b->to : n;
    memcpy(b->bytes + b->to, p, part);
    b->to += (uint32_t)part;
    s->plain_bytes += part;
    if (b->to == MG_BLOCK_ROOM && s->is_open)
        encrypt_gathered(s);
    return part;
}

/* Whole records of a large piece are encrypted from where they are; small pieces share a record. */
static void put(struct mg_stream *s, const char *p, size_t n)
{
    while (n && !s->is_broken) {
        size_t part = n - n % RECORD_BYTES;

        if (part && s->is_open && !s->tls->first)
            encrypt(s, p, part);
        else
            part = gather(s, p, n);
        p += part;
        n -= part;
    }
}

void mg_tls_conn_write(struct mg_stream *s, const char *a, size_t a_n, const char *b, size_t b_n, bool more)
{
    put(s, a, a_n);
    put(s, b, b_n);
    if (!more && s->is_open)
        encrypt_gathered(s);
    send_wire(s); /* all streams share the buffer: nothing stays in it */
}

void mg_tls_conn_push(struct mg_stream *s)
{
    if (!s->is_open)
        return;
    encrypt_gathered(s);
    send_wire(s);
}

void mg_tls_conn_notify(struct mg_stream *s)
{
    struct mg_tls_conn *c = s->tls;

    if (c->sent_close || !s->is_open || s->is_broken)
        return;
    c->sent_close = true;
    ERR_clear_error();
    SSL_shutdown(c->ssl);
    ERR_clear_error();
    send_wire(s);
}

/* ---- facts ---- */

struct mg_str mg_tls_version(const struct mg_stream *s) { return mg_str_c(s->tls && s->is_open ? SSL_get_version(s->tls->ssl) : NULL); }
struct mg_str mg_tls_cipher(const struct mg_stream *s) { return mg_str_c(s->tls && s->is_open ? SSL_get_cipher_name(s->tls->ssl) : NULL); }

struct mg_str mg_tls_sni(const struct mg_stream *s)
{
    return mg_str_c(s->tls && s->tls->ssl ? SSL_get_servername(s->tls->ssl, TLSEXT_NAMETYPE_host_name) : NULL);
}

struct mg_str mg_tls_alpn(const struct mg_stream *s)
{
    const unsigned char *p = NULL;
    unsigned n = 0;

    if (s->tls && s->tls->ssl)
        SSL_get0_alpn_selected(s->tls->ssl, &p, &n);
    return mg_str((const char *)p, n);
}
