/* hash.c - SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012), with a key
 * that is drawn once in a process: whoever chooses the keys of a table cannot choose its collisions. */
#include "base/str.h"
#include <stdlib.h>
#include <sys/random.h>

static uint64_t key[2];

__attribute__((constructor)) static void draw_key(void)
{
    if (getrandom(key, sizeof(key), 0) != sizeof(key))
        abort();
}

static inline uint64_t rotl(uint64_t v, int by) { return v << by | v >> (64 - by); }

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

static inline void mix(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t mg_str_hash(struct mg_str s)
{
    uint64_t v[4] = { key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
                      key[1] ^ 0x7465646279746573u };
    uint64_t word;
    size_t i;

    for (i = 0; i + 8 <= s.n; i += 8) {
        memcpy(&word, s.p + i, 8);
        mix(v, word);
    }
    word = (uint64_t)s.n << 56;
    for (int shift = 0; i < s.n; i++, shift += 8)
        word |= (uint64_t)(unsigned char)s.p[i] << shift;
    mix(v, word);
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
