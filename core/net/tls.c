#include "net/tls_private.h"
#include "base/alloc.h"
#include "base/log.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

/* TLS 1.2: forward secrecy and AEAD alone (RFC 9325, 4.2). TLS 1.3 has nothing else. */
static const char default_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                      "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

const char *mg_tls_reason(void)
{
    static _Thread_local char text[160];
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;

    if (!e)
        return "no reason given";
    if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_WRONG_VERSION_NUMBER)
        return "the peer does not speak TLS, or no version that we do";
    if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_HTTP_REQUEST)
        return "a plain HTTP request came to a TLS port";
    if (ERR_GET_REASON(e) == ERR_R_SYS_LIB && ERR_SYSTEM_ERROR(ERR_peek_error())) /* the first one knows: a file, mostly */
        return strerror(ERR_GET_REASON(ERR_peek_error()));
    if (reason)
        return reason;
    ERR_error_string_n(e, text, sizeof(text));
    return text;
}

/* ---- a context, whatever its side ---- */

static int no_passphrase(char *buf, int size, int rw, void *arg)
{
    (void)buf, (void)size, (void)rw, (void)arg;
    return -1; /* never ask the terminal */
}

static SSL_CTX *ctx_new(const SSL_METHOD *method, int min_version, struct mg_error *err)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (!ctx) {
        mg_fail(err, MG_ENOMEM, "tls: out of memory");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx, min_version == 13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); /* an idle connection holds no record buffers */
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    SSL_CTX_set_cipher_list(ctx, default_ciphers);
    return ctx;
}

static int load_pair(SSL_CTX *ctx, const char *cert, const char *key, struct mg_error *err)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
        return mg_fail(err, MG_ETLS, "tls: %s: no PEM certificate chain here (%s)", cert, mg_tls_reason());
    ERR_clear_error();
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        unsigned long e = ERR_peek_last_error();

        if (ERR_GET_LIB(e) == ERR_LIB_X509)
            return mg_fail(err, MG_ETLS, "tls: %s: this key does not belong to the certificate %s", key, cert);
        return mg_fail(err, MG_ETLS, "tls: %s: no PEM key without passphrase here (%s)", key, mg_tls_reason());
    }
    if (SSL_CTX_check_private_key(ctx) != 1)
        return mg_fail(err, MG_ETLS, "tls: %s: this key does not belong to the certificate %s", key, cert);
    return 0;
}

static struct mg_tls *tls_new(bool is_server)
{
    struct mg_tls *t = mg_calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    atomic_init(&t->refs, 1);
    t->is_server = is_server;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

static void free_map(struct mg_map *m, void (*free_value)(void *))
{
    struct mg_str key;
    void *value;

    for (size_t i = 0; mg_map_next(m, &i, &key, &value);) {
        mg_free((char *)key.p);
        if (free_value)
            free_value(value);
    }
    mg_map_deinit(m);
}

static void free_session(void *session) { SSL_SESSION_free(session); }

struct mg_tls *mg_tls_ref(struct mg_tls *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

void mg_tls_unref(struct mg_tls *t)
{
    if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
        return;
    for (size_t i = 0; i < t->certs_n; i++)
        SSL_CTX_free(t->certs[i]);
    if (!t->is_server)
        SSL_CTX_free(t->ctx);
    free_map(&t->names, NULL);
    free_map(&t->sessions, free_session);
    pthread_mutex_destroy(&t->lock);
    mg_free(t->server_name);
    mg_free(t->certs);
    mg_free(t);
}

static struct mg_tls *refuse(struct mg_tls *t, struct mg_error *err, bool no_memory)
{
    if (no_memory)
        mg_fail(err, MG_ENOMEM, "tls: out of memory");
    ERR_clear_error();
    mg_tls_unref(t);
    return NULL;
}

static char *copy_c(struct mg_str s)
{
    char *c = mg_malloc(s.n + 1);

    if (!c)
        return NULL;
    if (s.n)
        memcpy(c, s.p, s.n);
    c[s.n] = 0;
    return c;
}

/* ---- server: names ---- */

static int add_name(struct mg_tls *t, const unsigned char *p, size_t n, SSL_CTX *ctx)
{
    char *name = copy_c(mg_str((const char *)p, n));

    if (!name)
        return MG_ENOMEM;
    for (size_t i = 0; i < n; i++)
        name[i] = mg_lower(name[i]);
    if (strlen(name) != n || mg_map_get(&t->names, mg_str(name, n))) { /* the first certificate of a name has it */
        mg_free(name);
        return 0;
    }
    if (mg_map_put(&t->names, mg_str(name, n), ctx, NULL) == 0)
        return 0;
    mg_free(name);
    return MG_ENOMEM;
}

/* The subject's common name counts only where there is no alternative name (RFC 6125, 6.4.4). */
static int add_common_name(struct mg_tls *t, X509 *cert, SSL_CTX *ctx)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    int i = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    ASN1_STRING *s = i < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i));

    return s ? add_name(t, ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s), ctx) : 0;
}

static int add_names(struct mg_tls *t, SSL_CTX *ctx)
{
    X509 *cert = SSL_CTX_get0_certificate(ctx);
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int rc = 0, found = 0;

    for (int i = 0; rc == 0 && i < sk_GENERAL_NAME_num(names); i++) {
        GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

        if (g->type != GEN_DNS)
            continue;
        found = 1;
        rc = add_name(t, ASN1_STRING_get0_data(g->d.dNSName), (size_t)ASN1_STRING_length(g->d.dNSName), ctx);
    }
    GENERAL_NAMES_free(names);
    return found || rc ? rc : add_common_name(t, cert, ctx);
}

static SSL_CTX *ctx_for_name(const struct mg_tls *t, const char *sni)
{
    char name[256];
    size_t n = strlen(sni);
    const char *dot;
    SSL_CTX *ctx;

    if (n == 0 || n >= sizeof(name))
        return NULL;
    for (size_t i = 0; i <= n; i++)
        name[i] = mg_lower(sni[i]);
    if (name[n - 1] == '.')
        n--;
    ctx = mg_map_get(&t->names, mg_str(name, n));
    dot = ctx ? NULL : memchr(name, '.', n);
    if (!dot || dot == name)
        return ctx;
    name[dot - name - 1] = '*'; /* a wildcard stands for one whole label */
    return mg_map_get(&t->names, mg_str(dot - 1, n - (size_t)(dot - 1 - name)));
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    SSL_CTX *ctx = sni ? ctx_for_name(arg, sni) : NULL;

    (void)alert;
    if (ctx && ctx != SSL_get_SSL_CTX(ssl))
        SSL_set_SSL_CTX(ssl, ctx);
    return SSL_TLSEXT_ERR_OK; /* unknown names get the first certificate */
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned in_n,
                   void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";

    (void)ssl, (void)arg;
    if (SSL_select_next_proto((unsigned char **)out, out_n, ours, sizeof(ours) - 1, in, in_n) == OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_OK;
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol (RFC 7301, 3.2) */
}

/* ---- server ---- */

static void warn_of_dates(SSL_CTX *ctx, const char *file)
{
    const X509 *cert = SSL_CTX_get0_certificate(ctx);

    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        mg_logf(MG_LOG_WARN, "tls: %s: this certificate has expired", file);
    else if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
        mg_logf(MG_LOG_WARN, "tls: %s: this certificate is not valid yet", file);
}

static int set_ciphers(SSL_CTX *ctx, const struct mg_tls_server_conf *conf, struct mg_error *err)
{
    char list[2048];

    if (conf->ciphers.n >= sizeof(list) || conf->ciphersuites.n >= sizeof(list))
        return mg_fail(err, MG_ECONF, "tls: a cipher list of more than %zu bytes", sizeof(list) - 1);
    snprintf(list, sizeof(list), "%.*s", (int)conf->ciphers.n, conf->ciphers.n ? conf->ciphers.p : "");
    if (conf->ciphers.n && SSL_CTX_set_cipher_list(ctx, list) != 1)
        return mg_fail(err, MG_ECONF, "tls: ciphers: OpenSSL knows none of \"%.180s\"", list);
    snprintf(list, sizeof(list), "%.*s", (int)conf->ciphersuites.n, conf->ciphersuites.n ? conf->ciphersuites.p : "");
    if (conf->ciphersuites.n && SSL_CTX_set_ciphersuites(ctx, list) != 1)
        return mg_fail(err, MG_ECONF, "tls: ciphersuites: \"%.180s\" holds one that OpenSSL does not know", list);
    return 0;
}

/* Tickets need no memory here; without them sessions are kept, by number, in the first context. */
static void set_sessions(SSL_CTX *ctx, const struct mg_tls_server_conf *conf)
{
    static const unsigned char id[] = "moongate";
    int64_t seconds = conf->session_timeout_ms / 1000;

    SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1);
    SSL_CTX_set_timeout(ctx, seconds > 0 ? (long)seconds : 3600);
    if (conf->session_tickets) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        return;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(ctx, 20480);
}

static SSL_CTX *server_ctx(struct mg_tls *t, const struct mg_tls_server_conf *conf, const struct mg_tls_cert *pair,
                           struct mg_error *err)
{
    SSL_CTX *ctx = ctx_new(TLS_server_method(), conf->min_version, err);

    if (!ctx)
        return NULL;
    if (set_ciphers(ctx, conf, err) < 0 || load_pair(ctx, pair->cert.p, pair->key.p, err) < 0) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    set_sessions(ctx, conf);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, t);
    warn_of_dates(ctx, pair->cert.p);
    return ctx;
}

struct mg_tls *mg_tls_server_new(const struct mg_tls_server_conf *conf, struct mg_error *err)
{
    struct mg_tls *t;

    if (!conf->certs_n) {
        mg_fail(err, MG_ECONF, "tls: no certificate");
        return NULL;
    }
    t = tls_new(true);
    if (!t || !(t->certs = mg_calloc(conf->certs_n, sizeof(SSL_CTX *))))
        return refuse(t, err, true);
    for (size_t i = 0; i < conf->certs_n; i++) {
        SSL_CTX *ctx = server_ctx(t, conf, &conf->certs[i], err);

        if (!ctx)
            return refuse(t, err, false);
        t->certs[t->certs_n++] = ctx;
        if (add_names(t, ctx) < 0)
            return refuse(t, err, true);
    }
    t->ctx = t->certs[0];
    return t;
}

/* ---- client ---- */

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    return mg_tls_session_put(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)), mg_tls_conn_name(ssl), session);
}

static int load_ca(SSL_CTX *ctx, struct mg_str ca, struct mg_error *err)
{
    ERR_clear_error();
    if (!ca.n)
        return SSL_CTX_set_default_verify_paths(ctx) == 1 ? 0 : mg_fail(err, MG_ETLS, "tls: the system's CAs: %s", mg_tls_reason());
    if (SSL_CTX_load_verify_file(ctx, ca.p) != 1)
        return mg_fail(err, MG_ETLS, "tls: %s: no PEM certificates here (%s)", ca.p, mg_tls_reason());
    return 0;
}

static int set_up_client(struct mg_tls *t, const struct mg_tls_client_conf *conf, struct mg_error *err)
{
    SSL_CTX *ctx = t->ctx;
    int rc;

    SSL_CTX_set_app_data(ctx, t);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_new_session);
    SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\x08http/1.1", 9);
    SSL_CTX_set_verify(ctx, conf->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (conf->verify && (rc = load_ca(ctx, conf->ca, err)) < 0)
        return rc;
    if (conf->cert.n && (rc = load_pair(ctx, conf->cert.p, conf->key.n ? conf->key.p : conf->cert.p, err)) < 0)
        return rc;
    return 0;
}

struct mg_tls *mg_tls_client_new(const struct mg_tls_client_conf *conf, struct mg_error *err)
{
    struct mg_tls *t = tls_new(false);

    if (!t)
        return refuse(t, err, true);
    t->verify = conf->verify;
    if (conf->server_name.n && !(t->server_name = copy_c(conf->server_name)))
        return refuse(t, err, true);
    t->ctx = ctx_new(TLS_client_method(), conf->min_version, err);
    if (!t->ctx || set_up_client(t, conf, err) < 0)
        return refuse(t, err, false);
    return t;
}

/* ---- client: sessions to resume, one for each server name ---- */

enum { SESSIONS_MAX = 128 };

SSL_SESSION *mg_tls_session_get(struct mg_tls *t, const char *name)
{
    SSL_SESSION *session;

    pthread_mutex_lock(&t->lock);
    session = mg_map_get(&t->sessions, mg_str_c(name));
    if (session && SSL_SESSION_is_resumable(session))
        SSL_SESSION_up_ref(session);
    else
        session = NULL;
    pthread_mutex_unlock(&t->lock);
    return session;
}

/* Replace the one there is, or add. 1: `session` was taken. */
static int put_session(struct mg_tls *t, const char *name, SSL_SESSION *session)
{
    void *old = mg_map_get(&t->sessions, mg_str_c(name));
    char *key;

    if (old) {
        size_t i = 0;
        struct mg_str k;

        while (mg_map_next(&t->sessions, &i, &k, NULL) && !mg_str_eq(k, mg_str_c(name)))
            ;
        mg_map_put(&t->sessions, k, session, NULL);
        SSL_SESSION_free(old);
        return 1;
    }
    key = t->sessions.used < SESSIONS_MAX ? copy_c(mg_str_c(name)) : NULL;
    if (!key)
        return 0;
    if (mg_map_put(&t->sessions, mg_str_c(key), session, NULL) == 0)
        return 1;
    mg_free(key);
    return 0;
}

int mg_tls_session_put(struct mg_tls *t, const char *name, SSL_SESSION *session)
{
    int taken;

    pthread_mutex_lock(&t->lock);
    taken = put_session(t, name, session);
    pthread_mutex_unlock(&t->lock);
    return taken;
}
