#include "base/error.h"
#include <stdarg.h>
#include <stdio.h>
#include <uv.h>

int mg_fail(struct mg_error *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return code;
    err->code = code;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof(err->message), fmt, ap);
    va_end(ap);
    return code;
}

static const char *own_name(int code)
{
    switch (code) {
    case MG_OK: return "OK";
    case MG_ECONF: return "ECONF";
    case MG_EENDED: return "EENDED";
    case MG_EPHASE: return "EPHASE";
    case MG_ENOENT: return "ENOENT";
    case MG_ENOMEM: return "ENOMEM";
    case MG_EINVAL: return "EINVAL";
    case MG_ETOOBIG: return "ETOOBIG";
    case MG_EBUSY: return "EBUSY";
    case MG_ETIMEOUT: return "ETIMEOUT";
    case MG_ESYNTAX: return "ESYNTAX";
    case MG_EPROTO: return "EPROTO";
    case MG_ECLOSED: return "ECLOSED";
    case MG_ETLS: return "ETLS";
    case MG_ECANCELED: return "ECANCELED";
    case MG_EEXIST: return "EEXIST";
    case MG_EIO: return "EIO";
    default: return NULL;
    }
}

const char *mg_error_name(int code)
{
    static _Thread_local char other[32]; /* uv_err_name would leak a string for codes it does not know */
    const char *name = own_name(code);

    if (name)
        return name;
    uv_err_name_r(code, other, sizeof(other));
    return other;
}
