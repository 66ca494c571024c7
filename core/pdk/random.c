/* random.c - xoshiro256** (Blackman and Vigna) for each thread, seeded by the kernel; the kernel itself for secrets. */
#include "pdk/random.h"
#include "pdk/codec.h"
#include "base/str.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

static _Thread_local uint64_t s[4];
static _Thread_local bool is_seeded;

int mg_random_bytes(void *out, size_t n)
{
    char *p = out;

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

static void seed(void)
{
    if (mg_random_bytes(s, sizeof s) || !(s[0] | s[1] | s[2] | s[3])) {
        s[0] = (uint64_t)(uintptr_t)&s ^ (uint64_t)time(NULL);
        s[1] = 0x9e3779b97f4a7c15u;
    }
    is_seeded = true;
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
    return (double)(mg_random_u64() >> 11) * 0x1.0p-53;
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
