/* random.c - xoshiro256** (Blackman and Vigna) for each thread, seeded by the kernel; the kernel itself for secrets. */
#include "pdk/random.h"
#include "pdk/codec.h"
#include "base/str.h"
#include "exchange/outside.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

static _Thread_local uint64_t s[4];
static _Thread_local bool is_seeded, is_fixed /* for a test */;

static int fixed_bytes(char *p, size_t n)
{
    while (n) {
        uint64_t v = mg_random_u64();
        size_t part = n < sizeof v ? n : sizeof v;

        memcpy(p, &v, part);
        p += part;
        n -= part;
    }
    return 0;
}

static int real_bytes(void *out, size_t n)
{
    char *p = out;

    if (is_fixed)
        return fixed_bytes(p, n);
    while (n) {
        ssize_t got = getrandom(p, n, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return MG_EBUSY;
        p += got;
        n -= (size_t)got;
    }
    return 0;
}

int mg_random_bytes(void *out, size_t n)
{
    struct mg_exchange *x = mg_outside_here();
    struct mg_str answer = mg_str(NULL, 0);
    int64_t status = 0;

    if (!x)
        return real_bytes(out, n);
    if (mg_outside_answers(x, "random_bytes", answer, &status, &answer) && answer.n == n) {
        memcpy(out, answer.p, n);
        return (int)status;
    }
    status = real_bytes(out, n);
    mg_outside_told(x, "random_bytes", status, mg_str(out, status == 0 ? n : 0));
    return (int)status;
}

static void seed(void)
{
    if (real_bytes(s, sizeof s) || !(s[0] | s[1] | s[2] | s[3])) {
        s[0] = (uint64_t)(uintptr_t)&s ^ (uint64_t)time(NULL);
        s[1] = 0x9e3779b97f4a7c15u;
    }
    is_seeded = true;
}

/* splitmix64 (Vigna): neighbouring seeds give streams that have nothing in common. */
static uint64_t spread(uint64_t *n)
{
    uint64_t z = *n += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void mg_random_seed(uint64_t n)
{
    is_fixed = is_seeded = n != 0;
    for (int i = 0; n && i < 4; i++)
        s[i] = spread(&n);
}

static inline uint64_t rotate(uint64_t v, int by)
{
    return v << by | v >> (64 - by);
}

uint64_t mg_random_u64(void)
{
    uint64_t result, t;

    if (!is_seeded)
        seed();
    result = rotate(s[1] * 5, 7) * 9;
    t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

double mg_random(void)
{
    struct mg_exchange *x = mg_outside_here();
    struct mg_str answer = mg_str(NULL, 0);
    int64_t bits = (int64_t)(mg_random_u64() >> 11);

    if (x && !mg_outside_answers(x, "random", answer, &bits, &answer))
        mg_outside_told(x, "random", bits, answer);
    return (double)bits * 0x1.0p-53;
}

int mg_uuid(struct mg_str *out)
{
    static _Thread_local char text[37];
    static const int starts[] = { 0, 9, 14, 19, 24 }, bytes[] = { 4, 2, 2, 2, 6 };
    uint8_t raw[16];
    const uint8_t *from = raw;
    int rc = mg_random_bytes(raw, sizeof raw);

    *out = mg_str(NULL, 0);
    if (rc)
        return rc;
    raw[6] = (uint8_t)((raw[6] & 0x0f) | 0x40); /* version 4, RFC 9562 */
    raw[8] = (uint8_t)((raw[8] & 0x3f) | 0x80);
    for (int i = 0; i < 5; i++) {
        mg_hex_put(text + starts[i], from, (size_t)bytes[i]);
        from += bytes[i];
    }
    text[8] = text[13] = text[18] = text[23] = '-';
    *out = mg_str(text, 36);
    return 0;
}
