/* bytes.h - looking at runs of bytes a machine word at a time.
 *
 * Header fields, targets and log columns are looked through several times for each request: a byte at a time that was a
 * tenth of all instructions. Words are plain C (no vector unit is asked for) and give the same answer in either byte order. */
#ifndef MG_BASE_BYTES_H
#define MG_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MG_ONES (UINT64_MAX / 255)  /* 0x01 in each byte */
#define MG_HIGHS (MG_ONES << 7)     /* 0x80 in each byte */

static inline uint64_t mg_word8(const char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof w);
    return w;
}

/* 4 to 7 bytes as one word: those in the middle stand in it twice. */
static inline uint64_t mg_word4(const char *p, size_t n)
{
    uint32_t first, last;

    memcpy(&first, p, sizeof first);
    memcpy(&last, p + n - sizeof last, sizeof last);
    return (uint64_t)last << 32 | first;
}

/* Not 0 when a byte of w is less than `low` (at most 0x80). Exact as a test, not as to which byte. */
static inline uint64_t mg_word_less(uint64_t w, uint8_t low) { return (w - MG_ONES * low) & ~w & MG_HIGHS; }
/* Not 0 when a byte of w is c. */
static inline uint64_t mg_word_has(uint64_t w, uint8_t c) { return mg_word_less(w ^ (MG_ONES * c), 1); }

/* Is no byte less than `low` (at most 0x80), and none DEL? */
static inline bool mg_bytes_from(const char *p, size_t n, uint8_t low)
{
    uint64_t bad = 0;

    if (n >= 8) {
        const char *last = p + n - 8; /* the last word may overlap the one before */

        for (; p < last; p += 8)
            bad |= mg_word_less(mg_word8(p), low) | mg_word_has(mg_word8(p), 0x7f);
        return !(bad | mg_word_less(mg_word8(last), low) | mg_word_has(mg_word8(last), 0x7f));
    }
    if (n >= 4)
        return !(mg_word_less(mg_word4(p, n), low) | mg_word_has(mg_word4(p, n), 0x7f));
    for (size_t i = 0; i < n; i++)
        bad |= (uint8_t)p[i] < low || (uint8_t)p[i] == 0x7f;
    return !bad;
}

/* Is no byte 0x80 or more? */
static inline bool mg_bytes_ascii(const char *p, size_t n)
{
    uint64_t all = 0;

    if (n >= 8) {
        const char *last = p + n - 8;

        for (; p < last; p += 8)
            all |= mg_word8(p);
        return !((all | mg_word8(last)) & MG_HIGHS);
    }
    for (size_t i = 0; i < n; i++)
        all |= (uint8_t)p[i];
    return !(all & 0x80);
}

/* memcpy for what is short nearly always: a call costs more than the bytes. */
static inline void mg_copy_short(char *to, const char *p, size_t n)
{
    uint64_t a, b;

    if (n - 8 <= 8) { /* 8 to 16 */
        memcpy(&a, p, 8);
        memcpy(&b, p + n - 8, 8);
        memcpy(to, &a, 8);
        memcpy(to + n - 8, &b, 8);
    } else if (n > 16) {
        memcpy(to, p, n);
    } else if (n >= 4) {
        a = mg_word4(p, n);
        memcpy(to, &a, 4);
        memcpy(to + n - 4, (char *)&a + 4, 4);
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = p[i];
    }
}

#endif
