/* redis_command.c - what a client must know of commands: where the first key is, which wait, which change the connection. */
#include "service/redis.h"

#include <stdio.h>
#include <stdlib.h>

/* CRC16-CCITT (XMODEM), as the cluster specification has it; bit by bit, keys are short. */
static unsigned crc16(const char *p, size_t n)
{
    unsigned crc = 0;

    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned)(unsigned char)p[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
    }
    return crc;
}

int mg_redis_slot(struct mg_str key)
{
    const char *open = key.n ? memchr(key.p, '{', key.n) : NULL;

    if (open) {
        const char *from = open + 1;
        const char *close = memchr(from, '}', key.n - (size_t)(from - key.p));

        if (close && close > from)
            key = mg_str(from, (size_t)(close - from));
    }
    return (int)(crc16(key.p, key.n) & 16383);
}

/* Commands whose first key is not their first argument. at > 0: that argument; 0: none; AFTER_COUNT: argument `where` is the
 * number of keys, they follow; STREAMS: after that word. Subcommands (OBJECT FREQ key) have it second. */
enum { NO_KEY = 0, STREAMS = -1, COUNT_AT_1 = -2, COUNT_AT_2 = -3 };
static const struct key_rule { const char *name; int at; } key_rules[] = {
    { "ACL", NO_KEY }, { "ASKING", NO_KEY }, { "AUTH", NO_KEY }, { "BGREWRITEAOF", NO_KEY }, { "BGSAVE", NO_KEY },
    { "BITOP", 2 }, { "BLMPOP", COUNT_AT_2 }, { "BZMPOP", COUNT_AT_2 }, { "CLIENT", NO_KEY }, { "CLUSTER", NO_KEY },
    { "COMMAND", NO_KEY }, { "CONFIG", NO_KEY }, { "DBSIZE", NO_KEY }, { "DEBUG", NO_KEY }, { "ECHO", NO_KEY },
    { "EVAL", COUNT_AT_2 }, { "EVALSHA", COUNT_AT_2 }, { "EVALSHA_RO", COUNT_AT_2 }, { "EVAL_RO", COUNT_AT_2 },
    { "FAILOVER", NO_KEY }, { "FCALL", COUNT_AT_2 }, { "FCALL_RO", COUNT_AT_2 }, { "FLUSHALL", NO_KEY },
    { "FLUSHDB", NO_KEY }, { "FUNCTION", NO_KEY }, { "INFO", NO_KEY }, { "KEYS", NO_KEY }, { "LASTSAVE", NO_KEY },
    { "LATENCY", NO_KEY }, { "LMPOP", COUNT_AT_1 }, { "LOLWUT", NO_KEY }, { "MEMORY", 2 }, { "MIGRATE", 3 },
    { "MODULE", NO_KEY }, { "OBJECT", 2 }, { "PING", NO_KEY }, { "PUBLISH", NO_KEY }, { "PUBSUB", NO_KEY },
    { "RANDOMKEY", NO_KEY }, { "REPLICAOF", NO_KEY }, { "ROLE", NO_KEY }, { "SAVE", NO_KEY }, { "SCAN", NO_KEY },
    { "SCRIPT", NO_KEY }, { "SENTINEL", NO_KEY }, { "SHUTDOWN", NO_KEY }, { "SINTERCARD", COUNT_AT_1 },
    { "SLAVEOF", NO_KEY }, { "SLOWLOG", NO_KEY }, { "SWAPDB", NO_KEY }, { "TIME", NO_KEY }, { "WAIT", NO_KEY },
    { "WAITAOF", NO_KEY }, { "XGROUP", 2 }, { "XINFO", 2 }, { "XREAD", STREAMS }, { "XREADGROUP", STREAMS },
    { "ZDIFF", COUNT_AT_1 }, { "ZINTER", COUNT_AT_1 }, { "ZINTERCARD", COUNT_AT_1 }, { "ZMPOP", COUNT_AT_1 },
    { "ZUNION", COUNT_AT_1 },
};

static int index_of_word(const struct mg_str *argv, int argc, struct mg_str word)
{
    for (int i = 1; i < argc; i++)
        if (mg_str_ieq(argv[i], word))
            return i;
    return -1;
}

static int after_count(const struct mg_str *argv, int argc, int at)
{
    uint64_t n;

    return at + 1 < argc && mg_str_u64(argv[at], INT32_MAX, &n) && n > 0 ? at + 1 : 0;
}

int mg_redis_key_index(const struct mg_str *argv, int argc)
{
    int at = 1;

    for (size_t i = 0; argc > 0 && i < sizeof key_rules / sizeof key_rules[0]; i++) {
        if (mg_str_ieq(argv[0], mg_str_c(key_rules[i].name))) {
            at = key_rules[i].at;
            break;
        }
    }
    switch (at) {
    case COUNT_AT_1:
        return after_count(argv, argc, 1);
    case COUNT_AT_2:
        return after_count(argv, argc, 2);
    case STREAMS:
        at = index_of_word(argv, argc, MG_STR("STREAMS"));
        return at > 0 && at + 1 < argc ? at + 1 : 0;
    default:
        return at < argc ? at : 0;
    }
}

static bool is_one_of(struct mg_str word, const char *const *words)
{
    for (; *words; words++)
        if (mg_str_ieq(word, mg_str_c(*words)))
            return true;
    return false;
}

enum mg_redis_sort mg_redis_sort_of(const struct mg_str *argv, int argc)
{
    static const char *const stateful[] = { "SELECT", "AUTH", "HELLO", "QUIT", "RESET", "MULTI", "EXEC", "DISCARD", "WATCH",
        "UNWATCH", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR", "SYNC",
        "PSYNC", "READONLY", "READWRITE", "ASKING", NULL };
    static const char *const blocks[] = { "BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP",
        "WAIT", "WAITAOF", NULL };
    static const char *const reads[] = { "XREAD", "XREADGROUP", NULL };
    static const char *const client_words[] = { "REPLY", "TRACKING", "SETNAME", "NO-EVICT", "NO-TOUCH", "CACHING", NULL };

    if (argc < 1 || is_one_of(argv[0], stateful))
        return MG_REDIS_STATEFUL;
    if (argc > 1 && mg_str_ieq(argv[0], MG_STR("CLIENT")) && is_one_of(argv[1], client_words))
        return MG_REDIS_STATEFUL;
    if (is_one_of(argv[0], blocks))
        return MG_REDIS_BLOCKS;
    if (is_one_of(argv[0], reads)) {
        int block = index_of_word(argv, argc, MG_STR("BLOCK")), streams = index_of_word(argv, argc, MG_STR("STREAMS"));

        return block > 0 && (streams < 0 || block < streams) ? MG_REDIS_BLOCKS : MG_REDIS_PLAIN;
    }
    return MG_REDIS_PLAIN;
}

/* "0.5" -> 500. */
static int64_t seconds(struct mg_str s)
{
    char text[32], *end;
    double v;

    if (s.n == 0 || s.n >= sizeof text)
        return -1;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    v = strtod(text, &end);
    return *end || !(v >= 0) || v > 1e9 ? -1 : (int64_t)(v * 1000 + 0.999);
}

static int64_t milliseconds(struct mg_str s)
{
    uint64_t v;

    return mg_str_u64(s, 1000000000000, &v) ? (int64_t)v : -1;
}

int64_t mg_redis_block_ms(const struct mg_str *argv, int argc)
{
    static const char *const first[] = { "BLMPOP", "BZMPOP", NULL }, *const in_ms[] = { "WAIT", "WAITAOF", NULL };
    int at;

    if (argc < 2)
        return -1;
    if (is_one_of(argv[0], first))
        return seconds(argv[1]);
    if (is_one_of(argv[0], in_ms))
        return milliseconds(argv[argc - 1]);
    at = index_of_word(argv, argc, MG_STR("BLOCK"));
    if (argv[0].p[0] == 'X' || argv[0].p[0] == 'x')
        return at > 0 && at + 1 < argc ? milliseconds(argv[at + 1]) : -1;
    return seconds(argv[argc - 1]);
}
