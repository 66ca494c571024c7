/* crypto.c - digests and HMAC by OpenSSL. Algorithms are fetched once in the process, contexts made once a thread: a fetch for each
 * call costs more than the hash of a short text. */
#include "base/scratch.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <strings.h>

enum { DIGESTS_MAX = 32, NAME_MAX_BYTES = 32 };

struct digest { char name[NAME_MAX_BYTES]; EVP_MD *md; };
static struct digest digests[DIGESTS_MAX];
static _Atomic int digests_n;       /* those below are complete, and never change */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static EVP_MAC *hmac;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

struct local { EVP_MD_CTX *md; EVP_MAC_CTX *mac; };
static _Thread_local struct local mine;

static void local_free(void *arg)
{
    struct local *l = arg;

    EVP_MD_CTX_free(l->md);
    EVP_MAC_CTX_free(l->mac);
    l->md = NULL;
    l->mac = NULL;
}

static void main_ends(void)
{
    local_free(&mine);
}

static void prepare(void)
{
    pthread_key_create(&key, local_free);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    atexit(main_ends);
}

static struct local *local_get(void)
{
    pthread_once(&once, prepare);
    if (mine.md && mine.mac)
        return &mine;
    if (!mine.md)
        mine.md = EVP_MD_CTX_new();
    if (!mine.mac && hmac)
        mine.mac = EVP_MAC_CTX_new(hmac);
    pthread_setspecific(key, &mine);
    return mine.md && mine.mac ? &mine : NULL;
}

static struct digest *look(const char *name, int from, int to)
{
    for (int i = from; i < to; i++)
        if (!strcasecmp(digests[i].name, name))
            return &digests[i];
    return NULL;
}

static struct digest *digest_get(const char *given)
{
    char name[NAME_MAX_BYTES];
    struct digest *d;
    size_t n = given ? strlen(given) : 0;
    int known = atomic_load_explicit(&digests_n, memory_order_acquire);
    EVP_MD *md;

    if (!n || n >= sizeof name)
        return NULL;
    memcpy(name, given, n + 1);
    d = look(name, 0, known);
    if (d)
        return d;
    pthread_mutex_lock(&lock);
    d = look(name, known, atomic_load(&digests_n));
    if (!d && atomic_load(&digests_n) < DIGESTS_MAX && (md = EVP_MD_fetch(NULL, name, NULL))) {
        d = &digests[atomic_load(&digests_n)];
        memcpy(d->name, name, n + 1);
        d->md = md;
        atomic_fetch_add_explicit(&digests_n, 1, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return d;
}

int mg_digest(const char *name, const char *p, size_t n, struct mg_str *out)
{
    static _Thread_local unsigned char raw[EVP_MAX_MD_SIZE];
    const struct digest *d = digest_get(name);
    struct local *l = local_get();
    unsigned raw_n = 0;

    *out = mg_str(NULL, 0);
    if (!d)
        return MG_ENOENT;
    if (!l || EVP_DigestInit_ex2(l->md, d->md, NULL) != 1 || EVP_DigestUpdate(l->md, p ? p : "", n) != 1 ||
        EVP_DigestFinal_ex(l->md, raw, &raw_n) != 1)
        return MG_ENOMEM;
    *out = mg_str((const char *)raw, raw_n);
    return 0;
}

int mg_hmac(const char *name, const char *key_bytes, size_t key_n, const char *p, size_t n, struct mg_str *out)
{
    static _Thread_local unsigned char raw[EVP_MAX_MD_SIZE];
    struct digest *d = digest_get(name);
    struct local *l = local_get();
    OSSL_PARAM params[2];
    size_t raw_n = 0;

    *out = mg_str(NULL, 0);
    if (!d)
        return MG_ENOENT;
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, d->name, 0);
    params[1] = OSSL_PARAM_construct_end();
    if (!l || EVP_MAC_init(l->mac, (const unsigned char *)(key_bytes ? key_bytes : ""), key_n, params) != 1 ||
        EVP_MAC_update(l->mac, (const unsigned char *)(p ? p : ""), n) != 1 ||
        EVP_MAC_final(l->mac, raw, &raw_n, sizeof raw) != 1)
        return MG_ENOMEM;
    *out = mg_str((const char *)raw, raw_n);
    return 0;
}
