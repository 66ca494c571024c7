/* outgoing.h - the control thread's part in our own HTTP requests: the names in their URLs are resolved here, and hosts that nobody
 * asked for in ten minutes are forgotten (service/http_hosts.h). Control thread. */
#ifndef MG_SERVER_OUTGOING_H
#define MG_SERVER_OUTGOING_H

struct mg_gateway;

void mg_outgoing_start(struct mg_gateway *g);
/* Workers have ended. */
void mg_outgoing_stop(struct mg_gateway *g);
/* The control thread's loop has ended, too: nobody uses a host any more. */
void mg_outgoing_forget(void);

#endif
