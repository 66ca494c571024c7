/* records.h - what a DNS answer says, as text: one record a line.
 *
 *     SRV    "TTL PRIORITY WEIGHT PORT TARGET"    lowest priority first, of equal ones the heaviest
 *     MX     "TTL PREFERENCE HOST"                lowest preference first
 *     TXT    "TTL TEXT"                           its strings joined; '\' and bytes that are not printable ASCII as \DDD (decimal)
 *     PTR, CNAME  "TTL NAME"
 *
 * TTLs are seconds, names have no dot at the end. Anything else in the answer (other types, other sections) is passed over. */
#ifndef MG_NET_RECORDS_H
#define MG_NET_RECORDS_H

#include "base/str.h"

enum mg_record_type { MG_RECORD_CNAME = 5, MG_RECORD_PTR = 12, MG_RECORD_MX = 15, MG_RECORD_TXT = 16, MG_RECORD_SRV = 33 };
enum { MG_RECORDS_MAX = 256, MG_RECORDS_TEXT_MAX = 64 * 1024 };

static inline bool mg_is_record_type(int type)
{
    return type == MG_RECORD_CNAME || type == MG_RECORD_PTR || type == MG_RECORD_MX || type == MG_RECORD_TXT || type == MG_RECORD_SRV;
}

/* The records of that type in an answer. 0: *out is their text (mg_free), not empty, *ttl_s the shortest TTL; MG_ENOENT: none; MG_EPROTO:
 * no DNS answer, or a broken one; MG_ENOMEM. Beyond MG_RECORDS_MAX records or MG_RECORDS_TEXT_MAX bytes the rest is left out. */
int mg_records_text(const void *answer, size_t n, int type, struct mg_str *out, int *ttl_s);

#endif
