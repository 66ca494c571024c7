/* codec.c - hex, base64 (RFC 4648), percent-encoding (RFC 3986). Decoding takes what encoding makes and nothing else. */
#include "pdk/codec.h"
#include "base/scratch.h"

static const char hex_digits[] = "0123456789abcdef";

void mg_hex_put(char *out, const void *p, size_t n)
{
    const uint8_t *b = p;

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex_digits[b[i] >> 4];
        out[2 * i + 1] = hex_digits[b[i] & 15];
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int mg_hex_encode(const char *p, size_t n, struct mg_str *out)
{
    static _Thread_local struct mg_scratch s;
    char *to;

    *out = mg_str(NULL, 0);
    if (n > SIZE_MAX / 4 || !(to = mg_scratch_take(&s, 2 * n + 1)))
        return MG_ENOMEM;
    mg_hex_put(to, p, n);
    *out = mg_str(to, 2 * n);
    return 0;
}

int mg_hex_decode(const char *p, size_t n, struct mg_str *out)
{
    static _Thread_local struct mg_scratch s;
    char *to;

    *out = mg_str(NULL, 0);
    if (n % 2)
        return MG_ESYNTAX;
    if (!(to = mg_scratch_take(&s, n / 2 + 1)))
        return MG_ENOMEM;
    for (size_t i = 0; i < n / 2; i++) {
        int high = hex_value(p[2 * i]), low = hex_value(p[2 * i + 1]);

        if (high < 0 || low < 0)
            return MG_ESYNTAX;
        to[i] = (char)(high << 4 | low);
    }
    *out = mg_str(to, n / 2);
    return 0;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int mg_base64_encode(const char *p, size_t n, int url, struct mg_str *out)
{
    static _Thread_local struct mg_scratch s;
    const uint8_t *b = (const uint8_t *)p;
    const char *digits = url ? url_alphabet : alphabet;
    char *to, *o;
    size_t i;

    *out = mg_str(NULL, 0);
    if (n > SIZE_MAX / 2 || !(to = mg_scratch_take(&s, (n + 2) / 3 * 4 + 1)))
        return MG_ENOMEM;
    o = to;
    for (i = 0; i + 2 < n; i += 3) {
        uint32_t v = (uint32_t)b[i] << 16 | (uint32_t)b[i + 1] << 8 | b[i + 2];

        *o++ = digits[v >> 18];
        *o++ = digits[v >> 12 & 63];
        *o++ = digits[v >> 6 & 63];
        *o++ = digits[v & 63];
    }
    if (i < n) {
        uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < n ? (uint32_t)b[i + 1] << 8 : 0);

        *o++ = digits[v >> 18];
        *o++ = digits[v >> 12 & 63];
        if (i + 1 < n)
            *o++ = digits[v >> 6 & 63];
        else if (!url)
            *o++ = '=';
        if (!url)
            *o++ = '=';
    }
    *out = mg_str(to, (size_t)(o - to));
    return 0;
}

static int base64_value(char c, int url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

/* One text for one value: no stray bits in the last digit, padding exactly where it belongs. */
int mg_base64_decode(const char *p, size_t n, int url, struct mg_str *out)
{
    static _Thread_local struct mg_scratch s;
    uint32_t v = 0;
    size_t at = 0, digits = n;
    char *to;

    *out = mg_str(NULL, 0);
    if (!url) {
        if (n % 4)
            return MG_ESYNTAX;
        if (n && p[n - 1] == '=')
            digits -= p[n - 2] == '=' ? 2 : 1;
    }
    if (digits % 4 == 1)
        return MG_ESYNTAX;
    if (!(to = mg_scratch_take(&s, n / 4 * 3 + 4)))
        return MG_ENOMEM;
    for (size_t i = 0; i < digits; i++) {
        int d = base64_value(p[i], url);

        if (d < 0)
            return MG_ESYNTAX;
        v = v << 6 | (uint32_t)d;
        if (i % 4 == 3) {
            to[at++] = (char)(v >> 16);
            to[at++] = (char)(v >> 8);
            to[at++] = (char)v;
            v = 0;
        }
    }
    if (digits % 4 == 2) {
        if (v & 15)
            return MG_ESYNTAX;
        to[at++] = (char)(v >> 4);
    } else if (digits % 4 == 3) {
        if (v & 3)
            return MG_ESYNTAX;
        to[at++] = (char)(v >> 10);
        to[at++] = (char)(v >> 2);
    }
    *out = mg_str(to, at);
    return 0;
}

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
           c == '~';
}

int mg_url_encode(const char *p, size_t n, struct mg_str *out)
{
    static const char upper[] = "0123456789ABCDEF";
    static _Thread_local struct mg_scratch s;
    char *to, *o;

    *out = mg_str(NULL, 0);
    if (n > SIZE_MAX / 4 || !(to = mg_scratch_take(&s, 3 * n + 1)))
        return MG_ENOMEM;
    o = to;
    for (size_t i = 0; i < n; i++) {
        if (is_unreserved(p[i])) {
            *o++ = p[i];
            continue;
        }
        *o++ = '%';
        *o++ = upper[(uint8_t)p[i] >> 4];
        *o++ = upper[(uint8_t)p[i] & 15];
    }
    *out = mg_str(to, (size_t)(o - to));
    return 0;
}

int mg_url_decode(const char *p, size_t n, struct mg_str *out)
{
    static _Thread_local struct mg_scratch s;
    char *to = mg_scratch_take(&s, n + 1), *o = to;

    *out = mg_str(NULL, 0);
    if (!to)
        return MG_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int high, low;

        if (p[i] != '%') {
            *o++ = p[i];
            continue;
        }
        if (n - i < 3 || (high = hex_value(p[i + 1])) < 0 || (low = hex_value(p[i + 2])) < 0)
            return MG_ESYNTAX;
        *o++ = (char)(high << 4 | low);
        i += 2;
    }
    *out = mg_str(to, (size_t)(o - to));
    return 0;
}

int mg_equal(const char *a, size_t a_n, const char *b, size_t b_n)
{
    volatile uint8_t d = 0; /* volatile: no early way out for a clever compiler */

    if (a_n != b_n)
        return 0;
    for (size_t i = 0; i < a_n; i++)
        d = (uint8_t)(d | ((uint8_t)a[i] ^ (uint8_t)b[i]));
    return d == 0;
}
