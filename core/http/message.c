#include "http/message.h"

static const struct mg_str methods[] = {
    [MG_M_OTHER] = { "", 0 },        [MG_M_GET] = { "GET", 3 },       [MG_M_HEAD] = { "HEAD", 4 },
    [MG_M_POST] = { "POST", 4 },     [MG_M_PUT] = { "PUT", 3 },       [MG_M_DELETE] = { "DELETE", 6 },
    [MG_M_PATCH] = { "PATCH", 5 },   [MG_M_OPTIONS] = { "OPTIONS", 7 }, [MG_M_CONNECT] = { "CONNECT", 7 },
    [MG_M_TRACE] = { "TRACE", 5 },
};

static int candidate(struct mg_str s)
{
    switch (s.n) {
    case 3: return s.p[0] == 'G' ? MG_M_GET : MG_M_PUT;
    case 4: return s.p[0] == 'H' ? MG_M_HEAD : MG_M_POST;
    case 5: return s.p[0] == 'P' ? MG_M_PATCH : MG_M_TRACE;
    case 6: return MG_M_DELETE;
    case 7: return s.p[0] == 'O' ? MG_M_OPTIONS : MG_M_CONNECT;
    default: return MG_M_OTHER;
    }
}

/* Methods are case-sensitive (RFC 9110, 9.1). */
int mg_method_of(struct mg_str text)
{
    int m = candidate(text);

    return m != MG_M_OTHER && memcmp(text.p, methods[m].p, text.n) == 0 ? m : MG_M_OTHER;
}

struct mg_str mg_method_text(int method)
{
    return method > MG_M_OTHER && method <= MG_M_TRACE ? methods[method] : methods[MG_M_OTHER];
}

#define REASON(status, text) case status: return MG_STR(text)

struct mg_str mg_reason(int status)
{
    switch (status) {
        REASON(100, "Continue");
        REASON(101, "Switching Protocols");
        REASON(102, "Processing");
        REASON(103, "Early Hints");
        REASON(200, "OK");
        REASON(201, "Created");
        REASON(202, "Accepted");
        REASON(203, "Non-Authoritative Information");
        REASON(204, "No Content");
        REASON(205, "Reset Content");
        REASON(206, "Partial Content");
        REASON(207, "Multi-Status");
        REASON(208, "Already Reported");
        REASON(226, "IM Used");
        REASON(300, "Multiple Choices");
        REASON(301, "Moved Permanently");
        REASON(302, "Found");
        REASON(303, "See Other");
        REASON(304, "Not Modified");
        REASON(305, "Use Proxy");
        REASON(307, "Temporary Redirect");
        REASON(308, "Permanent Redirect");
        REASON(400, "Bad Request");
        REASON(401, "Unauthorized");
        REASON(402, "Payment Required");
        REASON(403, "Forbidden");
        REASON(404, "Not Found");
        REASON(405, "Method Not Allowed");
        REASON(406, "Not Acceptable");
        REASON(407, "Proxy Authentication Required");
        REASON(408, "Request Timeout");
        REASON(409, "Conflict");
        REASON(410, "Gone");
        REASON(411, "Length Required");
        REASON(412, "Precondition Failed");
        REASON(413, "Content Too Large");
        REASON(414, "URI Too Long");
        REASON(415, "Unsupported Media Type");
        REASON(416, "Range Not Satisfiable");
        REASON(417, "Expectation Failed");
        REASON(418, "I'm a Teapot");
        REASON(421, "Misdirected Request");
        REASON(422, "Unprocessable Content");
        REASON(423, "Locked");
        REASON(424, "Failed Dependency");
        REASON(425, "Too Early");
        REASON(426, "Upgrade Required");
        REASON(428, "Precondition Required");
        REASON(429, "Too Many Requests");
        REASON(431, "Request Header Fields Too Large");
        REASON(451, "Unavailable For Legal Reasons");
        REASON(500, "Internal Server Error");
        REASON(501, "Not Implemented");
        REASON(502, "Bad Gateway");
        REASON(503, "Service Unavailable");
        REASON(504, "Gateway Timeout");
        REASON(505, "HTTP Version Not Supported");
        REASON(506, "Variant Also Negotiates");
        REASON(507, "Insufficient Storage");
        REASON(508, "Loop Detected");
        REASON(510, "Not Extended");
        REASON(511, "Network Authentication Required");
    default: return mg_str("", 0);
    }
}
