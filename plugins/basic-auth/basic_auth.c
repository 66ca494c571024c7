/* basic_auth.c - who calls? The one who knows this password (RFC 7617).
 *
 *     consumers = { alice = { basic = { { "alice", "$2b$12$…" } } } }
 *     plugins   = { "basic-auth" }
 *
 * Passwords stand in the config as hashes alone: argon2, bcrypt and SHA-crypt, which are verified on the thread pool, or
 * "sha256:SALT:HEX", verified in place. A slow hash may run once, not for every request: each worker
 * remembers for a short time that a pair was right, as an HMAC under a key that exists in memory only. A name that
 * nobody has costs as much time as one that somebody has, since a hash is verified all the same. */
#include "../no_memory.h"
#include <moongate/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DIGEST = 32, ENCODED_MAX = 256, PAIR_MAX = 1024, WAYS = 4 };

struct conf {
    struct mg_str anonymous, realm;
    bool hide;
    int64_t cache_ms, cache_entries;
};
struct instance {
    const struct conf *conf;
    struct mg_str challenge;
    uint8_t key[DIGEST];      /* of the HMACs */
};
struct password {             /* one credential */
    struct mg_str username, hash, id;
};
struct proof {                /* this pair was right until then */
    uint8_t mac[DIGEST];
    int64_t until_us;
};
struct worker {
    char dummy[ENCODED_MAX];  /* the hash verified for unknown names: the last one that was somebody's */
    size_t dummy_n;
    size_t sets;              /* of WAYS proofs; a power of two, or 0 */
    struct proof proofs[];
};
struct attempt {              /* of one exchange, while a hash is verified */
    int credential;
    uint8_t mac[DIGEST];
};

static const struct mg_field fields[] = {
    { .name = "realm", .type = MG_STRING, .offset = offsetof(struct conf, realm), .preset = "moongate",
      .pattern = "[^\"\\\\\\x00-\\x1f\\x7f]*", .doc = "The realm that browsers show." },
    { .name = "hide_credentials", .type = MG_BOOL, .offset = offsetof(struct conf, hide), .preset = "true",
      .doc = "Take the Authorization field off before the request goes upstream." },
    { .name = "anonymous", .type = MG_STRING, .offset = offsetof(struct conf, anonymous), .preset = "",
      .doc = "The consumer that callers without Basic credentials count as; empty: they are refused." },
    { .name = "cache", .type = MG_DURATION, .offset = offsetof(struct conf, cache_ms), .preset = "60s", .has_min = true, .min = 0,
      .has_max = true, .max = 3600000, .doc = "How long a password that was right is not hashed again; 0s: always hash." },
    { .name = "cache_entries", .type = MG_INT, .offset = offsetof(struct conf, cache_entries), .preset = "1024", .has_min = true,
      .min = 4, .has_max = true, .max = 65536, .doc = "How many pairs each worker remembers." },
    { 0 }
};

static const struct mg_field credential_fields[] = {
    { .name = "username", .type = MG_STRING, .offset = offsetof(struct password, username), .required = true, .at = 1,
      .pattern = "[^:\\x00-\\x1f\\x7f]+", .doc = "The name; without a colon." },
    { .name = "password", .type = MG_STRING, .offset = offsetof(struct password, hash), .required = true, .secret = true, .at = 2,
      .has_max = true, .max = ENCODED_MAX,
      .pattern = "\\$argon2(id|i|d)\\$\\S+|\\$2[aby]\\$[0-9]{2}\\$[./A-Za-z0-9]{53}|\\$[56]\\$[^\\s:]+|sha256:[^:]+:[0-9a-f]{64}",
      .doc = "The password's hash: $argon2id$…, $2b$…, $5$…, $6$… or sha256:SALT:HEX. Plain text is refused." },
    { .name = "id", .type = MG_STRING, .offset = offsetof(struct password, id),
      .doc = "A name for the credential in logs." },
    { 0 }
};
static const struct mg_credential_kind kind = {
    .kind = "basic", .fields = credential_fields, .conf_bytes = sizeof(struct password), .key = "username",
};

/* ---- life --------------------------------------------------------------------------------------- */

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    static const char open[] = "Basic realm=\"", close[] = "\", charset=\"UTF-8\"";
    const struct conf *c = entry->conf;
    struct instance *in = calloc(1, sizeof(*in) + sizeof(open) + sizeof(close) + c->realm.n);
    char *p;

    if (!in)
        return no_memory(err);
    in->conf = c;
    p = (char *)(in + 1);
    in->challenge.p = p;
    in->challenge.n = sizeof(open) - 1 + c->realm.n + sizeof(close) - 1;
    memcpy(p, open, sizeof(open) - 1);
    memcpy(p + sizeof(open) - 1, c->realm.p, c->realm.n);
    memcpy(p + sizeof(open) - 1 + c->realm.n, close, sizeof(close) - 1);
    if (mg_random_bytes(in->key, sizeof(in->key)) < 0) {
        snprintf(err->message, sizeof(err->message), "no random bytes");
        free(in);
        return err->code = MG_EINVAL;
    }
    *self = in;
    return 0;
}

static void destroy(void *self)
{
    struct instance *in = self;

    explicit_bzero(in->key, sizeof(in->key));
    free(in);
}

static int worker_create(void *self, void **local)
{
    /* bcrypt of nothing in particular, cost 10: what an unknown name costs before any name was known */
    static const char dummy[] = "$2b$10$CwTycUXWue0Thq9StjUM0uJ8E5n5Ek9p7bJz0m6b1y2QmXr8cZ1Wy";
    const struct conf *c = ((struct instance *)self)->conf;
    struct worker *w;
    size_t sets = 0;

    if (c->cache_ms > 0)
        for (sets = 1; sets * WAYS < (size_t)c->cache_entries;)
            sets *= 2;
    w = calloc(1, sizeof(*w) + sets * WAYS * sizeof(struct proof));
    if (!w)
        return MG_ENOMEM;
    w->sets = sets;
    w->dummy_n = sizeof(dummy) - 1;
    memcpy(w->dummy, dummy, w->dummy_n);
    *local = w;
    return 0;
}

static void worker_destroy(void *self, void *local)
{
    (void)self;
    free(local);
}

/* ---- what was right before ------------------------------------------------------------------------ */

static struct proof *set_of(struct worker *w, const uint8_t mac[DIGEST])
{
    uint32_t h;

    memcpy(&h, mac, sizeof(h));
    return &w->proofs[(h & (w->sets - 1)) * WAYS];
}

static bool is_remembered(struct worker *w, const uint8_t mac[DIGEST])
{
    const struct proof *set;
    int64_t now;

    if (!w->sets)
        return false;
    set = set_of(w, mac);
    now = mg_monotonic_us();
    for (int i = 0; i < WAYS; i++)
        if (set[i].until_us > now && mg_equal((const char *)set[i].mac, DIGEST, (const char *)mac, DIGEST))
            return true;
    return false;
}

/* What this worker remembers is not in a recording: that it did is. */
static bool was_right(struct mg_x *x, struct worker *w, const uint8_t mac[DIGEST])
{
    int64_t yes;

    if (mg_recall(x, "basic-auth remembered", 21, &yes) != 0) {
        yes = is_remembered(w, mac);
        mg_note(x, "basic-auth remembered", 21, yes);
    }
    return yes != 0;
}

static void remember(const struct conf *c, struct worker *w, const uint8_t mac[DIGEST])
{
    struct proof *set, *oldest;

    if (!w->sets)
        return;
    oldest = set = set_of(w, mac);
    for (int i = 1; i < WAYS; i++)
        if (set[i].until_us < oldest->until_us)
            oldest = &set[i];
    memcpy(oldest->mac, mac, DIGEST);
    oldest->until_us = mg_monotonic_us() + c->cache_ms * 1000;
}

/* HMAC of hash and password: a changed hash makes the old proof void. */
static bool make_mac(const struct instance *in, struct mg_str hash, struct mg_str password, uint8_t mac[DIGEST])
{
    char text[ENCODED_MAX + PAIR_MAX + 1];
    struct mg_str out;
    bool is_made;

    memcpy(text, hash.p, hash.n);
    text[hash.n] = 0;
    memcpy(text + hash.n + 1, password.p, password.n);
    is_made = mg_hmac("sha256", (const char *)in->key, sizeof(in->key), text, hash.n + 1 + password.n, &out) == 0
              && out.n == DIGEST;
    if (is_made)
        memcpy(mac, out.p, DIGEST);
    explicit_bzero(text, sizeof(text));
    return is_made;
}

/* ---- a request ---------------------------------------------------------------------------------- */

/* What the client sent, decoded into `pair`: "name:password". */
static int read_pair(struct mg_x *x, char pair[PAIR_MAX], struct mg_str *name, struct mg_str *password)
{
    struct mg_str value, decoded;
    const char *colon;

    if (mg_header_get(x, MG_REQUEST, "authorization", 13, &value) < 0 || value.n < 6 || strncasecmp(value.p, "basic ", 6))
        return MG_ENOENT;
    value.p += 6;
    value.n -= 6;
    while (value.n && *value.p == ' ') {
        value.p++;
        value.n--;
    }
    if (value.n > PAIR_MAX / 3 * 4 || mg_base64_decode(value.p, value.n, 0, &decoded) < 0 || decoded.n > PAIR_MAX)
        return MG_ESYNTAX;
    memcpy(pair, decoded.p, decoded.n);
    for (size_t i = 0; i < decoded.n; i++) /* RFC 7617, 2: no control characters */
        if ((unsigned char)pair[i] < 0x20 || pair[i] == 0x7f)
            return MG_ESYNTAX;
    colon = memchr(pair, ':', decoded.n);
    if (!colon)
        return MG_ESYNTAX;
    *name = (struct mg_str){ pair, (size_t)(colon - pair) };
    *password = (struct mg_str){ colon + 1, decoded.n - name->n - 1 };
    return 0;
}

static enum mg_verdict challenge(struct mg_x *x, const struct instance *in, const char *detail, size_t n)
{
    if (mg_respond_error(x, 401, detail, n) < 0
        || mg_header_set(x, MG_RESPONSE, "www-authenticate", 16, in->challenge.p, in->challenge.n) < 0)
        return MG_ERROR;
    return MG_RESPOND;
}

static enum mg_verdict refuse_wrong(struct mg_x *x, const struct instance *in)
{
    static const char detail[] = "This name and password are not valid.";

    return challenge(x, in, detail, sizeof(detail) - 1);
}

static enum mg_verdict refuse_busy(struct mg_x *x)
{
    static const char detail[] = "Too many passwords are being verified.";

    if (mg_respond_error(x, 503, detail, sizeof(detail) - 1) < 0
        || mg_header_set(x, MG_RESPONSE, "retry-after", 11, "1", 1) < 0)
        return MG_ERROR;
    return MG_RESPOND;
}

static enum mg_verdict without_pair(struct mg_x *x, const struct instance *in)
{
    static const char none[] = "This needs a name and a password.";
    const struct conf *c = in->conf;
    struct mg_str id;

    if (!c->anonymous.n)
        return challenge(x, in, none, sizeof(none) - 1);
    if (mg_consumer_credential_id(x, &id) == 0) /* recognised by an earlier entry */
        return MG_CONTINUE;
    return mg_consumer_set(x, c->anonymous.p, c->anonymous.n) < 0 ? MG_ERROR : MG_CONTINUE;
}

static enum mg_verdict accept(struct mg_x *x, const struct instance *in, int credential)
{
    if (mg_consumer_set_credential(x, credential) < 0)
        return MG_ERROR;
    if (in->conf->hide)
        mg_header_remove(x, MG_REQUEST, "authorization", 13);
    return MG_CONTINUE;
}

/* "sha256:SALT:HEX": is HEX the digest of salt and password, one after the other? */
static bool is_sha256_of(struct mg_str hash, struct mg_str password)
{
    char text[ENCODED_MAX + PAIR_MAX];
    size_t salt_n = hash.n - 7 - 1 - 64;
    struct mg_str digest, hex;
    bool is_right;

    memcpy(text, hash.p + 7, salt_n);
    memcpy(text + salt_n, password.p, password.n);
    is_right = mg_digest("sha256", text, salt_n + password.n, &digest) == 0 && mg_hex_encode(digest.p, digest.n, &hex) == 0
               && mg_equal(hex.p, hex.n, hash.p + hash.n - 64, 64);
    explicit_bzero(text, sizeof(text));
    return is_right;
}

static bool matches_sha256(struct mg_x *x, struct mg_str hash, struct mg_str password)
{
    int64_t yes;

    if (mg_recall(x, "basic-auth password", 19, &yes) != 0) {
        yes = is_sha256_of(hash, password);
        mg_note(x, "basic-auth password", 19, yes);
    }
    return yes != 0;
}

static enum mg_verdict verify(struct mg_x *x, const struct instance *in, struct worker *w, int credential, struct mg_str password)
{
    const struct password *known = credential >= 0 ? mg_credential_conf(x, credential) : NULL;
    struct mg_str hash = known ? known->hash : (struct mg_str){ w->dummy, w->dummy_n };
    struct attempt *a;
    int rc;

    if (hash.n > 7 && !memcmp(hash.p, "sha256:", 7))
        rc = matches_sha256(x, hash, password);
    else {
        a = mg_x_local(x, sizeof(*a));
        if (!a || !make_mac(in, hash, password, a->mac))
            return MG_ERROR;
        a->credential = known ? credential : -1;
        if (known && was_right(x, w, a->mac))
            return accept(x, in, credential);
        rc = mg_password_verify(x, hash.p, hash.n, password.p, password.n);
        if (rc == MG_EBUSY)
            return refuse_busy(x);
        if (rc > 0) {
            if (known && known->hash.n <= ENCODED_MAX)
                memcpy(w->dummy, known->hash.p, w->dummy_n = known->hash.n);
            return MG_WAIT;
        }
        return MG_ERROR;
    }
    if (known)
        memcpy(w->dummy, known->hash.p, w->dummy_n = known->hash.n);
    return rc && known ? accept(x, in, credential) : refuse_wrong(x, in);
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct instance *in = self;
    char pair[PAIR_MAX];
    struct mg_str name, password;
    enum mg_verdict verdict;
    int rc = read_pair(x, pair, &name, &password);

    if (rc == MG_ENOENT)
        return without_pair(x, in);
    if (rc < 0)
        return refuse_wrong(x, in);
    rc = mg_credential_find(x, "basic", 5, name.p, name.n);
    if (rc < 0 && rc != MG_ENOENT)
        verdict = MG_ERROR;
    else
        verdict = verify(x, in, local, rc, password);
    explicit_bzero(pair, sizeof(pair));
    return verdict;
}

static enum mg_verdict on_wake(struct mg_x *x, void *self, void *local, int op, int status)
{
    static const char unknown[] = "a consumer's password hash is of no form that can be verified here";
    const struct instance *in = self;
    struct attempt *a = mg_x_local(x, sizeof(*a));

    (void)op;
    if (!a)
        return MG_ERROR;
    if (status == MG_EBUSY)
        return refuse_busy(x);
    if (status < 0) {
        mg_log(MG_LOG_ERROR, unknown, sizeof(unknown) - 1);
        return MG_ERROR;
    }
    if (status == 0 || a->credential < 0)
        return refuse_wrong(x, in);
    remember(in->conf, local, a->mac);
    return accept(x, in, a->credential);
}

static const char *const provides[] = { "consumer", "credential", NULL };
static const char *const provides_anonymous[] = { "consumer", NULL };

static const char *const *provides_of(const void *conf)
{
    return ((const struct conf *)conf)->anonymous.n ? provides_anonymous : provides;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "basic-auth", .version = "1.0",
    .doc = "Recognises consumers by name and password.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .provides = provides, .provides_of = provides_of, .credentials = &kind,
    .create = create, .destroy = destroy, .worker_create = worker_create, .worker_destroy = worker_destroy,
    .on_request = on_request, .on_wake = on_wake,
};
