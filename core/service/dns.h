/* dns.h - names to addresses and other records, for plugins and for services that connect.
 *
 * Workers resolve nothing: a question goes to the control thread as a message, with its exchange's handle, and comes back the same way. There an
 * answer is kept as long as its TTL says (1 s to 1 h), that there is none for 5 s, a failure for 1 s; who asks for a name that is being
 * asked for waits for the same answer. At most 4096 names are kept and 4096 questions wait.
 *
 * On the seam (service "dns") the question is "NAME", or "NAME TYPE" (A, AAAA, CNAME, PTR, MX, TXT, SRV), the answer an address a line, or a
 * record a line (net/records.h). */
#ifndef MG_SERVICE_DNS_H
#define MG_SERVICE_DNS_H

#include "exchange/exchange.h"
#include "net/resolver.h"

struct mg_dns;

/* Control thread: begin to answer, by w->dns. NULL with err. */
struct mg_dns *mg_dns_open(struct mg_worker *w, const struct mg_resolver_conf *conf, struct mg_error *err);
/* Ask by this conf from now on (its text is copied). 0, or < 0 with err: nothing has changed. */
int mg_dns_resolver(struct mg_dns *d, const struct mg_resolver_conf *conf, struct mg_error *err);
/* When the workers have ended. */
void mg_dns_close(struct mg_worker *w);

/* Worker thread. An operation for x; it ends with 0, MG_ENOENT, MG_ETIMEOUT, MG_EPROTO, MG_EBUSY or MG_ENOMEM. type: 0: all addresses, 4: A,
 * 6: AAAA, or an mg_record_type. Its number or MG_ENOMEM. */
int mg_dns_ask(struct mg_exchange *x, struct mg_str name, int type);
/* What an ended one brought: addresses or records, one a line. MG_ENOENT. It lives until the exchange ends or mg_dns_forget. */
int mg_dns_answer(struct mg_exchange *x, int op, struct mg_str *out);
void mg_dns_forget(struct mg_exchange *x, int op);

/* The addresses of a name for a service's own connections, without an exchange. Embedded in the caller's struct. */
struct mg_dns_question;
struct mg_dns_lookup {
    void (*done)(struct mg_dns_lookup *l, int status, const struct mg_address *addrs, size_t n); /* without port; borrowed for the call */
    struct mg_dns_question *question;  /* NULL: none is under way */
};
/* On a worker's thread. 0: `done` is called there, once, not inside this call, unless mg_dns_lookup_cancel comes first. MG_ENOMEM; MG_ENOENT:
 * nobody resolves in this process. */
int mg_dns_lookup(struct mg_dns_lookup *l, struct mg_worker *w, struct mg_str name);
void mg_dns_lookup_cancel(struct mg_dns_lookup *l);

#endif
