/* tls.h - TLS contexts: certificates by SNI for listeners, verification for upstreams.
 *
 * A context is made by the builder, immutable and shared by all workers (OpenSSL locks what it must).
 * Each stream has a connection object whose BIO reads from the slice just received and writes into the stream's
 * output blocks: no memory BIO, no extra copy. */
#ifndef MG_NET_TLS_H
#define MG_NET_TLS_H

#include "base/error.h"
#include "base/str.h"

struct mg_tls;
struct mg_stream;

struct mg_tls_cert { struct mg_str cert, key; }; /* PEM files (the chain, leaf first); absolute, NUL-terminated */

struct mg_tls_server_conf {
    const struct mg_tls_cert *certs; /* the first is the default; others are chosen by the names inside them */
    size_t certs_n;
    int min_version;                 /* 12 or 13 */
    struct mg_str ciphers;           /* TLS 1.2 list; empty: our default (ECDHE with AEAD) */
    struct mg_str ciphersuites;      /* TLS 1.3; empty: OpenSSL's default */
    bool session_tickets;
    int64_t session_timeout_ms;
};
/* Counted; the caller gets one. NULL with err naming file and fault ("no key for X here", "expired"
 * is a warning in the log). Any thread. */
struct mg_tls *mg_tls_server_new(const struct mg_tls_server_conf *conf, struct mg_error *err);

struct mg_tls_client_conf {
    bool verify;                     /* chain and name */
    struct mg_str ca;                /* PEM file; empty: the system's */
    struct mg_str cert, key;         /* client certificate; empty: none */
    int min_version;
    struct mg_str server_name;       /* overrides SNI and the verified name; empty: the host */
};
struct mg_tls *mg_tls_client_new(const struct mg_tls_client_conf *conf, struct mg_error *err);

struct mg_tls *mg_tls_ref(struct mg_tls *t);
void mg_tls_unref(struct mg_tls *t);

/* Of an open stream; empty on a plain one. They live as long as the stream. */
struct mg_str mg_tls_version(const struct mg_stream *s);
struct mg_str mg_tls_cipher(const struct mg_stream *s);
struct mg_str mg_tls_sni(const struct mg_stream *s);
/* The protocol agreed on by ALPN ("http/1.1"); empty when none. */
struct mg_str mg_tls_alpn(const struct mg_stream *s);

#endif
