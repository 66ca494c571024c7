/* scratch.c - every buffer of a thread stands in a list that its end walks. */
#include "base/scratch.h"
#include "base/alloc.h"

#include <pthread.h>

enum { KEEP_BYTES = 65536 }; /* a rare large result is not kept */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool has_key;
static _Thread_local struct mg_scratch *mine;

static void thread_ends(void *first)
{
    for (struct mg_scratch *s = first; s; s = s->next) {
        mg_free(s->p);
        s->p = NULL;
        s->room = 0;
    }
}

static void make_key(void)
{
    has_key = pthread_key_create(&key, thread_ends) == 0;
}

static void enlist(struct mg_scratch *s)
{
    pthread_once(&once, make_key);
    s->is_listed = true;
    s->next = mine;
    mine = s;
    if (has_key)
        pthread_setspecific(key, mine);
}

char *mg_scratch_take(struct mg_scratch *s, size_t n)
{
    size_t room = n < 256 ? 256 : n;

    if (n <= s->room && (s->room <= KEEP_BYTES || n > KEEP_BYTES))
        return s->p;
    if (!s->is_listed)
        enlist(s);
    mg_free(s->p);
    s->p = mg_malloc(room);
    s->room = s->p ? room : 0;
    return s->p;
}
