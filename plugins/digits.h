/* digits.h - whole numbers as text, two digits at a time: several stand in each answer and each log line. */
#ifndef PLUGINS_DIGITS_H
#define PLUGINS_DIGITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { DIGITS_MAX = 20 };

/* Returns how many; out has room for DIGITS_MAX. */
static inline size_t digits_put(char *out, uint64_t v)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
                                "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
                                "9899";
    char text[DIGITS_MAX], *p = text + DIGITS_MAX;
    size_t n;

    for (; v >= 100; v /= 100) {
        p -= 2;
        memcpy(p, pairs + v % 100 * 2, 2);
    }
    if (v >= 10) {
        p -= 2;
        memcpy(p, pairs + v * 2, 2);
    } else {
        *--p = (char)('0' + v);
    }
    n = (size_t)(text + DIGITS_MAX - p);
    for (size_t i = 0; i < n; i++)
        out[i] = p[i];
    return n;
}

#endif
