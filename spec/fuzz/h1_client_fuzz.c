/* Whatever an upstream answers, however it is cut, paused or ended: no crash, the same events, at most one end. */
#include "../unit/http/h1_side.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void run_side(struct side *s, const uint8_t *p, size_t n, const uint8_t *cuts, size_t cuts_n, const uint8_t *how)
{
    size_t at = 0, i = 0;

    side_init(s, false);
    s->pauses = how[0] & 2;
    side_request(s, how[0] & 4 ? "HEAD" : "GET");
    while (at < n) {
        size_t part = cuts_n ? (size_t)cuts[i++ % cuts_n] % 37 + 1 : n;
        char *copy;

        part = part < n - at ? part : n - at;
        copy = malloc(part);
        memcpy(copy, p + at, part);
        mg_h1_feed(&s->h, copy, part);
        free(copy);
        at += part;
        if (s->pauses && cuts_n)
            s->leg->ops->resume(s->leg);
    }
    mg_h1_ended(&s->h, how[0] & 1 ? UV_EOF : UV_ECONNRESET);
    for (size_t k = 0; s->leg->is_paused && k < n + 2; k++)
        s->leg->ops->resume(s->leg);
    s->leg->ops->release(s->leg);
    if (s->dones != 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct side whole, cut;

    if (n < 4)
        return 0;
    run_side(&whole, data + 4, n - 4, NULL, 0, data);
    run_side(&cut, data + 4, n - 4, data + 1, data[0] % 3 + 1, data);
    if (strcmp(whole.log, cut.log) != 0) {
        fprintf(stderr, "whole: %s\ncut: %s\n", whole.log, cut.log);
        abort();
    }
    side_deinit(&whole);
    side_deinit(&cut);
    return 0;
}
