/* Whatever a client sends, however it is cut: no crash, and the same events and answers. */
#include "../unit/http/h1_side.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void run_side(struct side *s, const uint8_t *p, size_t n, const uint8_t *cuts, size_t cuts_n)
{
    size_t at = 0, i = 0;

    side_init(s, true);
    s->answers = true;
    while (at < n) {
        size_t part = cuts_n ? (size_t)cuts[i++ % cuts_n] % 37 + 1 : n;
        char *copy;

        part = part < n - at ? part : n - at;
        copy = malloc(part);
        memcpy(copy, p + at, part);
        mg_h1_feed(&s->h, copy, part);
        free(copy);
        at += part;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct side whole, cut;
    size_t cuts_n;

    if (n < 4)
        return 0;
    cuts_n = data[0] % 3 + 1;
    run_side(&whole, data + 4, n - 4, NULL, 0);
    run_side(&cut, data + 4, n - 4, data + 1, cuts_n);
    if (strcmp(whole.log, cut.log) != 0 || whole.f.out_n != cut.f.out_n ||
        (whole.f.out_n && memcmp(whole.f.out, cut.f.out, whole.f.out_n) != 0) || side_closes(&whole) != side_closes(&cut)) {
        fprintf(stderr, "whole: %s\ncut: %s\n", whole.log, cut.log);
        abort();
    }
    mg_h1_ended(&cut.h, data[1] & 1 ? UV_EOF : UV_ECONNRESET);
    side_deinit(&whole);
    side_deinit(&cut);
    return 0;
}
