#include "net/records.h"
#include "base/alloc.h"
#include "base/error.h"

#include <ares.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEAD_BYTES = 12, CLASS_IN = 1 };

struct record {
    unsigned ttl_s, priority, weight, port, order; /* order: as they came, so that sorting is stable */
    const uint8_t *data;             /* TXT: all; the others: the name in it */
    size_t n;
};

struct answer {
    const uint8_t *p;
    size_t n, at;
    struct record *records;
    size_t records_n;
};

struct text { char *p; size_t n; bool is_full; };

static unsigned u16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }
static unsigned u32(const uint8_t *p) { return u16(p) << 16 | u16(p + 2); }

/* ---- reading ---- */

/* Over a name, which may end in a pointer (RFC 1035, 4.1.4). */
static bool skip_name(struct answer *a)
{
    while (a->at < a->n) {
        uint8_t k = a->p[a->at];

        if (k >= 0xc0) {
            a->at += 2;
            return a->at <= a->n;
        }
        if (k > 63)
            return false;
        a->at += (size_t)k + 1;
        if (k == 0)
            return true;
    }
    return false;
}

/* What stands before the name, for each type. */
static size_t fixed_bytes(int type)
{
    return type == MG_RECORD_SRV ? 6 : type == MG_RECORD_MX ? 2 : 0;
}

static bool note(struct answer *a, int type, unsigned ttl_s, const uint8_t *data, size_t n)
{
    size_t fixed = fixed_bytes(type);
    struct record *r = &a->records[a->records_n];

    if (n <= fixed)
        return false;
    if (a->records_n == MG_RECORDS_MAX)
        return true;
    *r = (struct record){ .ttl_s = ttl_s > INT32_MAX ? 0 : ttl_s, .data = data + fixed, .n = n - fixed, .order = (unsigned)a->records_n };
    if (fixed)
        r->priority = u16(data);
    if (type == MG_RECORD_SRV) {
        r->weight = u16(data + 2);
        r->port = u16(data + 4);
    }
    a->records_n++;
    return true;
}

static bool read_record(struct answer *a, int type)
{
    const uint8_t *head;
    size_t n;

    if (!skip_name(a) || a->n - a->at < 10)
        return false;
    head = a->p + a->at;
    n = u16(head + 8);
    a->at += 10;
    if (n > a->n - a->at)
        return false;
    a->at += n;
    if (u16(head) != (unsigned)type || u16(head + 2) != CLASS_IN)
        return true;
    return note(a, type, u32(head + 4), head + 10, n);
}

static bool read_answer(struct answer *a, int type)
{
    if (a->n < HEAD_BYTES || !(a->p[2] & 0x80))
        return false;
    a->at = HEAD_BYTES;
    for (unsigned i = u16(a->p + 4); i > 0; i--) {
        if (!skip_name(a) || a->n - a->at < 4)
            return false;
        a->at += 4;
    }
    for (unsigned i = u16(a->p + 6); i > 0; i--)
        if (!read_record(a, type))
            return false;
    return true;
}

/* ---- writing ---- */

static int by_rank(const void *one, const void *two)
{
    const struct record *a = one, *b = two;

    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    if (a->weight != b->weight)
        return a->weight > b->weight ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

static void put(struct text *t, const char *p, size_t n)
{
    if (t->is_full || n > MG_RECORDS_TEXT_MAX - t->n) {
        t->is_full = true;
        return;
    }
    memcpy(t->p + t->n, p, n);
    t->n += n;
}

/* A name comes from outside: what could break the line is escaped by ares_expand_name, but for blanks. */
static bool put_name(struct text *t, const struct answer *a, const struct record *r)
{
    char *name = NULL;
    long used;
    bool ok;

    if (ares_expand_name(r->data, a->p, (int)a->n, &name, &used) != ARES_SUCCESS)
        return false;
    ok = (size_t)used <= r->n;
    for (const char *c = name; *c && ok; c++)
        ok = *c > 0x20 && *c < 0x7f;
    if (ok)
        put(t, *name ? name : ".", *name ? strlen(name) : 1);
    ares_free_string(name);
    return ok;
}

static bool put_strings(struct text *t, const struct record *r)
{
    for (size_t at = 0; at < r->n;) {
        size_t n = r->data[at++];

        if (n > r->n - at)
            return false;
        for (const uint8_t *c = r->data + at; n > 0; n--, c++, at++) {
            char escaped[5];

            if (*c >= 0x20 && *c < 0x7f && *c != '\\') {
                put(t, (const char *)c, 1);
                continue;
            }
            snprintf(escaped, sizeof escaped, "\\%03u", *c);
            put(t, escaped, 4);
        }
    }
    return true;
}

static bool put_record(struct text *t, const struct answer *a, const struct record *r, int type)
{
    char numbers[48];
    int n;

    if (type == MG_RECORD_SRV)
        n = snprintf(numbers, sizeof numbers, "%u %u %u %u ", r->ttl_s, r->priority, r->weight, r->port);
    else if (type == MG_RECORD_MX)
        n = snprintf(numbers, sizeof numbers, "%u %u ", r->ttl_s, r->priority);
    else
        n = snprintf(numbers, sizeof numbers, "%u ", r->ttl_s);
    if (t->n)
        put(t, "\n", 1);
    put(t, numbers, (size_t)n);
    return type == MG_RECORD_TXT ? put_strings(t, r) : put_name(t, a, r);
}

static int write_all(const struct answer *a, int type, struct text *t, int *ttl_s)
{
    if (a->records_n == 0)
        return MG_ENOENT;
    if (type == MG_RECORD_SRV || type == MG_RECORD_MX)
        qsort(a->records, a->records_n, sizeof *a->records, by_rank);
    *ttl_s = INT32_MAX;
    for (size_t i = 0; i < a->records_n; i++) {
        size_t before = t->n;

        if (!put_record(t, a, &a->records[i], type))
            return MG_EPROTO;
        if (t->is_full) {
            t->n = before;
            break;
        }
        if ((int)a->records[i].ttl_s < *ttl_s)
            *ttl_s = (int)a->records[i].ttl_s;
    }
    return t->n ? 0 : MG_EPROTO;
}

int mg_records_text(const void *answer, size_t n, int type, struct mg_str *out, int *ttl_s)
{
    struct answer a = { .p = answer, .n = n > 65535 ? 65535 : n };
    struct text t = { .p = mg_malloc(MG_RECORDS_TEXT_MAX) };
    char *less;
    int rc = MG_ENOMEM;

    *out = mg_str(NULL, 0);
    a.records = mg_malloc(MG_RECORDS_MAX * sizeof *a.records);
    if (a.records && t.p)
        rc = read_answer(&a, type) ? write_all(&a, type, &t, ttl_s) : MG_EPROTO;
    less = rc == 0 ? mg_malloc(t.n) : NULL;
    if (rc == 0 && !less)
        rc = MG_ENOMEM;
    if (less) {
        memcpy(less, t.p, t.n);
        *out = mg_str(less, t.n);
    }
    mg_free(a.records);
    mg_free(t.p);
    return rc;
}
