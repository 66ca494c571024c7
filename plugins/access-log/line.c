#include "line.h"
#include "../digits.h"

#define EACH_BYTE(b) (~UINT64_C(0) / 255 * (b))

static const char hex[] = "0123456789abcdef";

/* Is one of the eight bytes in v a control (DEL too), a quote, a backslash, or not ASCII? (Carries may say yes
 * where the answer is no; never the reverse.) */
static bool has_special(uint64_t v)
{
    uint64_t quote = v ^ EACH_BYTE('"'), slash = v ^ EACH_BYTE('\\');

    return ((v | (v + EACH_BYTE(1)) | (v - EACH_BYTE(0x20)) | (quote - EACH_BYTE(1)) | (slash - EACH_BYTE(1))) & EACH_BYTE(0x80)) != 0;
}

/* Bytes of the UTF-8 sequence at p (RFC 3629, 4), 0 when it is none. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t need;

    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        need = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        need = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        need = 4;
    else
        return 0;
    if (n < need)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f; /* surrogates */
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return need;
}

static char *json_control(char *out, unsigned char c)
{
    static const char shorts[32] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };

    *out++ = '\\';
    if (c < 0x20 && shorts[c]) {
        *out++ = shorts[c];
        return out;
    }
    memcpy(out, "u00", 3);
    out[3] = hex[c >> 4];
    out[4] = hex[c & 15];
    return out + 5;
}

static char *json_byte(char *out, const unsigned char *p, size_t n, size_t *used)
{
    size_t length;

    *used = 1;
    if (*p < 0x20 || *p == 0x7f)
        return json_control(out, *p);
    if (*p < 0x80) {
        if (*p == '"' || *p == '\\')
            *out++ = '\\';
        *out++ = (char)*p;
        return out;
    }
    length = utf8_length(p, n);
    if (!length) {
        memcpy(out, "\\ufffd", 6);
        return out + 6;
    }
    memcpy(out, p, length);
    *used = length;
    return out + length;
}

static char *plain_byte(char *out, unsigned char c)
{
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
        *out++ = (char)c;
        return out;
    }
    *out++ = '\\';
    if (c == '"' || c == '\\') {
        *out++ = (char)c;
        return out;
    }
    *out++ = 'x';
    *out++ = hex[c >> 4];
    *out++ = hex[c & 15];
    return out;
}

/* The last bytes of a value (fewer than eight, from i on), when none needs escaping: false, and nothing is written, when
 * one may. They are looked at and copied together with those before them, or doubled within a word. */
static bool copy_end(char *out, const unsigned char *p, size_t i, size_t n)
{
    size_t left = n - i;
    uint32_t first, last;
    uint64_t v = EACH_BYTE('a');

    if (i >= 8) {
        memcpy(&v, p + n - 8, 8);
        if (has_special(v))
            return false;
        memcpy(out + left - 8, &v, 8);
        return true;
    }
    if (left >= 4) {
        memcpy(&first, p + i, 4);
        memcpy(&last, p + n - 4, 4);
        if (has_special((uint64_t)last << 32 | first))
            return false;
        memcpy(out, &first, 4);
        memcpy(out + left - 4, &last, 4);
        return true;
    }
    for (size_t k = 0; k < left; k++)
        v = v << 8 | p[k];
    if (has_special(v))
        return false;
    for (size_t k = 0; k < left; k++)
        out[k] = (char)p[k];
    return true;
}

void line_text(struct line *l, struct mg_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = s.n < l->text_max ? s.n : l->text_max, room = (size_t)(l->end - l->p), i = 0, used;
    char *out = l->p;

    if (room < n * 6 + 2) /* a byte becomes six at most */
        n = room < 8 ? 0 : (room - 2) / 6;
    if (l->is_json)
        *out++ = '"';
    while (i < n) {
        uint64_t v;

        if (n - i >= 8) {
            memcpy(&v, p + i, 8);
            if (!has_special(v)) {
                memcpy(out, &v, 8);
                out += 8;
                i += 8;
                continue;
            }
        } else if (copy_end(out, p, i, n)) {
            out += n - i;
            break;
        }
        for (size_t stop = n - i >= 8 ? i + 8 : n; i < stop; i += used) {
            used = 1;
            out = l->is_json ? json_byte(out, p + i, n - i, &used) : plain_byte(out, p[i]);
        }
    }
    if (l->is_json)
        *out++ = '"';
    l->p = out;
}

static char *put_digits(char *out, uint64_t v)
{
    return out + digits_put(out, v);
}

void line_number(struct line *l, int64_t v)
{
    if (l->end - l->p < 24)
        return;
    if (v < 0)
        *l->p++ = '-';
    l->p = put_digits(l->p, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void line_milli(struct line *l, int64_t thousandths)
{
    uint64_t v = thousandths < 0 ? 0 : (uint64_t)thousandths;

    if (l->end - l->p < 28)
        return;
    l->p = put_digits(l->p, v / 1000);
    *l->p++ = '.';
    *l->p++ = (char)('0' + v / 100 % 10);
    *l->p++ = (char)('0' + v / 10 % 10);
    *l->p++ = (char)('0' + v % 10);
}
