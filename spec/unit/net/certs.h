/* certs.h - certificates made for a test: a CA and leaves, P-256, as PEM files. */
#ifndef MG_UNIT_CERTS_H
#define MG_UNIT_CERTS_H

#include "unit.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct test_ca { EVP_PKEY *key; X509 *cert; };

static inline void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
}

/* names: "DNS:a.test,DNS:*.b.test,IP:127.0.0.1"; NULL: a CA. Valid from `from` days to `to` days from now. */
static inline X509 *make_cert(EVP_PKEY *key, const char *cn, const char *names, const struct test_ca *by, int from, int to)
{
    static long serial = 1000;
    X509 *cert = X509_new();
    X509 *issuer = by ? by->cert : cert;

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), (long)from * 86400);
    X509_gmtime_adj(X509_getm_notAfter(cert), (long)to * 86400);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    add_extension(cert, issuer, NID_basic_constraints, names ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (names && names[0])
        add_extension(cert, issuer, NID_subject_alt_name, names);
    assert_true(X509_sign(cert, by ? by->key : key, EVP_sha256()) > 0);
    return cert;
}

static inline void write_pem(const char *folder, const char *file, EVP_PKEY *key, X509 *cert)
{
    char path[300];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s.pem", folder, file);
    if (cert) {
        f = fopen(path, "w");
        assert_non_null(f);
        PEM_write_X509(f, cert);
        fclose(f);
    }
    snprintf(path, sizeof(path), "%s/%s.key", folder, file);
    if (key) {
        f = fopen(path, "w");
        assert_non_null(f);
        PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
        fclose(f);
    }
}

/* FOLDER/ca.pem */
static inline struct test_ca make_ca(const char *folder)
{
    struct test_ca ca = { .key = EVP_EC_gen("P-256") };

    ca.cert = make_cert(ca.key, "spec CA", NULL, NULL, -1, 30);
    write_pem(folder, "ca", NULL, ca.cert);
    return ca;
}

static inline void free_ca(struct test_ca *ca)
{
    EVP_PKEY_free(ca->key);
    X509_free(ca->cert);
}

/* FOLDER/FILE.pem and FOLDER/FILE.key */
static inline void make_leaf(const char *folder, const char *file, const char *names, const struct test_ca *by, int from, int to)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = make_cert(key, file, names, by, from, to);

    write_pem(folder, file, key, cert);
    X509_free(cert);
    EVP_PKEY_free(key);
}

#endif
