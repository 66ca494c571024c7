/* tls_private.h - what tls.c (contexts) and tls_conn.c (connections) share. */
#ifndef MG_NET_TLS_PRIVATE_H
#define MG_NET_TLS_PRIVATE_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include "base/map.h"
#include "net/tls.h"

struct mg_tls {
    atomic_int refs;
    bool is_server;
    SSL_CTX *ctx;            /* the first certificate's; every connection begins with it */
    SSL_CTX **certs;         /* server: one for each certificate */
    size_t certs_n;
    struct mg_map names;     /* server: name in a certificate ("*.example.org" too) -> SSL_CTX. Owns the names */
    bool verify;             /* client */
    char *server_name;       /* client: instead of the host; may be NULL */
    pthread_mutex_t lock;    /* client: of `sessions` */
    struct mg_map sessions;  /* client: server name -> SSL_SESSION, to resume. Owns both */
};

/* Client: the session to resume with that server (a reference), or NULL; keep one. */
SSL_SESSION *mg_tls_session_get(struct mg_tls *t, const char *name);
int mg_tls_session_put(struct mg_tls *t, const char *name, SSL_SESSION *session); /* 1: taken */
/* The server name of an SSL's connection, for the new-session callback. */
const char *mg_tls_conn_name(const SSL *ssl);

struct mg_stream;
SSL *mg_tls_conn_ssl(const struct mg_stream *s); /* NULL on a plain one */

/* The newest error of OpenSSL's queue in words. Static storage of the thread. */
const char *mg_tls_reason(void);

#endif
