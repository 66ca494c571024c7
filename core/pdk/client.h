/* client.h - what is known of the client, kept for as long as the exchange lives. */
#ifndef MG_PDK_CLIENT_H
#define MG_PDK_CLIENT_H

#include "exchange/exchange.h"

/* Keep the facts of the client's connection that on_log may ask for (TLS version, cipher, SNI): the proxy calls it
 * just before it lets go of x->down. Cheap, and nothing on a plain connection. */
void mg_client_keep(struct mg_exchange *x);
/* The client's address as text, made when first asked for; empty over budget, "unix:" on a Unix socket. */
struct mg_str mg_client_ip_text(struct mg_exchange *x);
struct mg_str mg_client_peer_text(struct mg_exchange *x);

#endif
