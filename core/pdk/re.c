/* re.c - regular expressions through PCRE2, compiled to machine code where there is a JIT for it.
 *
 * Patterns are shared and read-only; each thread has its match data, limits and JIT stack. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/alloc.h"
#include "base/str.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { MATCH_LIMIT = 1000000, DEPTH_LIMIT = 20000, HEAP_LIMIT_KB = 8192, PAIRS_FIRST = 32 };
enum { STACK_FIRST = 32 * 1024, STACK_MAX = 1024 * 1024 };

struct mg_re {
    pcre2_code *code;
    uint32_t pairs;
};

/* One thread's part. */
struct local {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    uint32_t pairs;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static _Thread_local struct local *mine;

static void local_free(void *arg)
{
    struct local *l = arg;

    pcre2_match_data_free(l->data);
    pcre2_match_context_free(l->context);
    pcre2_jit_stack_free(l->stack);
    mg_free(l);
    mine = NULL;
}

/* The main thread runs no destructors of its own accord. */
static void main_ends(void)
{
    if (mine)
        local_free(mine);
}

static void make_key(void)
{
    pthread_key_create(&key, local_free);
    atexit(main_ends);
}

static struct local *local_get(uint32_t pairs)
{
    if (!mine) {
        struct local *l = mg_calloc(1, sizeof *l);

        if (!l)
            return NULL;
        pthread_once(&once, make_key);
        l->context = pcre2_match_context_create(NULL);
        l->stack = pcre2_jit_stack_create(STACK_FIRST, STACK_MAX, NULL);
        l->data = pcre2_match_data_create(PAIRS_FIRST, NULL);
        if (!l->context || !l->data) {
            local_free(l);
            return NULL;
        }
        pcre2_set_match_limit(l->context, MATCH_LIMIT);
        pcre2_set_depth_limit(l->context, DEPTH_LIMIT);
        pcre2_set_heap_limit(l->context, HEAP_LIMIT_KB);
        if (l->stack)
            pcre2_jit_stack_assign(l->context, NULL, l->stack);
        l->pairs = PAIRS_FIRST;
        mine = l;
        pthread_setspecific(key, l);
    }
    if (pairs > mine->pairs) {
        pcre2_match_data *more = pcre2_match_data_create(pairs, NULL);

        if (!more)
            return NULL;
        pcre2_match_data_free(mine->data);
        mine->data = more;
        mine->pairs = pairs;
    }
    return mine;
}

static uint32_t options_of(int flags)
{
    uint32_t o = PCRE2_NEVER_BACKSLASH_C;

    o |= flags & MG_RE_CASELESS ? PCRE2_CASELESS : 0;
    o |= flags & MG_RE_ANCHORED ? PCRE2_ANCHORED : 0;
    o |= flags & MG_RE_DOTALL ? PCRE2_DOTALL : 0;
    o |= flags & MG_RE_MULTILINE ? PCRE2_MULTILINE : 0;
    o |= flags & MG_RE_EXTENDED ? PCRE2_EXTENDED : 0;
    return o;
}

struct mg_re *mg_re_new(const char *pattern, size_t n, int flags, char *error, size_t error_n)
{
    struct mg_re *re = mg_calloc(1, sizeof *re);
    PCRE2_SIZE at = 0;
    int code = 0;

    if (re)
        re->code = pcre2_compile((PCRE2_SPTR)(pattern ? pattern : ""), n, options_of(flags), &code, &at, NULL);
    if (!re || !re->code) {
        PCRE2_UCHAR text[160] = "out of memory";

        if (re)
            pcre2_get_error_message(code, text, sizeof text);
        if (error && error_n)
            snprintf(error, error_n, "byte %zu: %s", (size_t)at + 1, (const char *)text);
        mg_free(re);
        return NULL;
    }
    pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE); /* without it the interpreter runs */
    pcre2_pattern_info(re->code, PCRE2_INFO_CAPTURECOUNT, &re->pairs);
    re->pairs++;
    return re;
}

void mg_re_free(struct mg_re *re)
{
    if (!re)
        return;
    pcre2_code_free(re->code);
    mg_free(re);
}

static int failure(int rc)
{
    switch (rc) {
    case PCRE2_ERROR_NOMATCH:
        return 0;
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
    case PCRE2_ERROR_JIT_STACKLIMIT:
        return MG_ETOOBIG;
    case PCRE2_ERROR_NOMEMORY:
        return MG_ENOMEM;
    default:
        return MG_EINVAL;
    }
}

int mg_re_match(const struct mg_re *re, const char *subject, size_t n, size_t start, int32_t *spans, int spans_n)
{
    struct local *l = re ? local_get(re->pairs) : NULL;
    const PCRE2_SIZE *found;
    int rc, filled;

    if (!l)
        return re ? MG_ENOMEM : MG_EINVAL;
    if (start > n || n > INT32_MAX)
        return MG_EINVAL;
    rc = pcre2_match(re->code, (PCRE2_SPTR)(subject ? subject : ""), n, start, 0, l->data, l->context);
    if (rc <= 0)
        return rc ? failure(rc) : MG_EINVAL;
    found = pcre2_get_ovector_pointer(l->data);
    filled = (int)re->pairs < spans_n ? (int)re->pairs : spans_n;
    for (int i = 0; i < filled; i++) {
        bool is_set = i < rc && found[2 * i] != PCRE2_UNSET;

        spans[2 * i] = is_set ? (int32_t)found[2 * i] : -1;
        spans[2 * i + 1] = is_set ? (int32_t)found[2 * i + 1] : -1;
    }
    return filled > 0 ? filled : 1;
}
