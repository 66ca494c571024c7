#include "net/resolver.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

void mg_address_format(struct mg_address *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->sa;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->sa;
    char ip[INET6_ADDRSTRLEN];

    a->text[0] = 0;
    if (a->sa.ss_family == AF_INET && inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip)))
        snprintf(a->text, sizeof(a->text), "%s:%u", ip, (unsigned)ntohs(v4->sin_port));
    else if (a->sa.ss_family == AF_INET6 && inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip)))
        snprintf(a->text, sizeof(a->text), "[%s]:%u", ip, (unsigned)ntohs(v6->sin6_port));
}

void mg_address_v4(struct mg_address *out, const void *ip, int port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out->sa;

    memset(out, 0, sizeof(*out));
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    memcpy(&v4->sin_addr, ip, 4);
    mg_address_format(out);
}

void mg_address_v6(struct mg_address *out, const void *ip, int port)
{
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->sa;

    memset(out, 0, sizeof(*out));
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    memcpy(&v6->sin6_addr, ip, 16);
    mg_address_format(out);
}

int mg_address_parse(struct mg_str host, int port, struct mg_address *out)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char ip[16];
    bool bracketed = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';

    if (port < 0 || port > 65535)
        return MG_EINVAL;
    if (bracketed)
        host = mg_str(host.p + 1, host.n - 2);
    if (host.n == 0 || host.n >= sizeof(text) || memchr(host.p, 0, host.n))
        return MG_EINVAL;
    memcpy(text, host.p, host.n);
    text[host.n] = 0;
    if (!bracketed && inet_pton(AF_INET, text, ip) == 1)
        mg_address_v4(out, ip, port);
    else if (inet_pton(AF_INET6, text, ip) == 1)
        mg_address_v6(out, ip, port);
    else
        return MG_EINVAL;
    return 0;
}
