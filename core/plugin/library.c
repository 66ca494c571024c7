/* library.c - loading shared objects.
 *
 * The dynamic loader knows a file by its path and inode: for one that was replaced it would hand back the old
 * code. So the bytes are copied to a file of our own, one for each content digest, in a folder that only we may enter;
 * the folders go at exit, and those that a crashed gateway left behind go when the next one makes its own. */
#include "plugin/library.h"

#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIGEST_BYTES = 32, FILE_MAX = 1 << 28 };

struct library {
    struct library *next;
    unsigned char digest[DIGEST_BYTES];
    struct mg_plugin plugin;  /* ours: fields that the plugin does not know are zero */
    char folder[256], file[320]; /* "" when it was loaded from memory */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct library *libraries;
static pid_t owner;

static void remove_copies(void)
{
    if (getpid() != owner)
        return;
    for (struct library *l = libraries; l; l = l->next) {
        if (!l->folder[0])
            continue;
        unlink(l->file);
        rmdir(l->folder);
    }
}

static const char *temp_folder(void)
{
    const char *t = getenv("TMPDIR");

    return t && t[0] == '/' && strlen(t) < 200 ? t : "/tmp";
}

/* Folders are called moongate-PID.XXXXXX. */
static void sweep(void)
{
    const char *top = temp_folder();
    DIR *dir = opendir(top);
    struct dirent *d;

    while (dir && (d = readdir(dir))) {
        char path[600], *end;
        struct stat st;
        struct dirent *f;
        DIR *inner;
        long pid;

        if (strncmp(d->d_name, "moongate-", 9) || !isdigit((unsigned char)d->d_name[9]))
            continue;
        pid = strtol(d->d_name + 9, &end, 10);
        if (*end != '.' || pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
            continue;
        snprintf(path, sizeof path, "%s/%s", top, d->d_name);
        if (lstat(path, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || !(inner = opendir(path)))
            continue;
        while ((f = readdir(inner)))
            if (f->d_name[0] != '.')
                unlinkat(dirfd(inner), f->d_name, 0);
        closedir(inner);
        rmdir(path);
    }
    if (dir)
        closedir(dir);
}

static int read_file(const char *path, char **bytes, size_t *n, struct mg_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    struct stat st;
    size_t at = 0;

    if (fd < 0)
        return mg_fail(err, MG_ECONF, "%s: %s", path, strerror(errno));
    *bytes = NULL;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > FILE_MAX) {
        rc = mg_fail(err, MG_ECONF, "%s: no shared object", path);
        goto out;
    }
    *bytes = malloc((size_t)st.st_size);
    if (!*bytes) {
        rc = mg_fail(err, MG_ENOMEM, "%s: out of memory", path);
        goto out;
    }
    while (at < (size_t)st.st_size) {
        ssize_t got = read(fd, *bytes + at, (size_t)st.st_size - at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            rc = mg_fail(err, MG_ECONF, "%s: cannot be read whole", path);
            goto out;
        }
        at += (size_t)got;
    }
    *n = at;
out:
    close(fd);
    if (rc)
        free(*bytes);
    return rc;
}

static bool lies_within(uint64_t from, uint64_t bytes, size_t n) { return from <= n && bytes <= n - from; }

/* The loader maps what the headers say and takes a SIGBUS where the file ends before: one that is copied into place is half there for
 * a moment. */
static int check_whole(const char *path, const char *p, size_t n, struct mg_error *err)
{
    ElfW(Ehdr) h;
    ElfW(Phdr) part;

    if (n < sizeof h || memcmp(p, ELFMAG, SELFMAG) != 0)
        return mg_fail(err, MG_ECONF, "%s: no shared object", path);
    memcpy(&h, p, sizeof h);
    if (h.e_phentsize != sizeof part || !lies_within(h.e_phoff, (uint64_t)h.e_phnum * sizeof part, n) ||
        (h.e_shoff && !lies_within(h.e_shoff, (uint64_t)h.e_shnum * h.e_shentsize, n)))
        return mg_fail(err, MG_ECONF, "%s: the file is cut short", path);
    for (size_t i = 0; i < h.e_phnum; i++) {
        memcpy(&part, p + h.e_phoff + i * sizeof part, sizeof part);
        if (part.p_type == PT_LOAD && !lies_within(part.p_offset, part.p_filesz, n))
            return mg_fail(err, MG_ECONF, "%s: the file is cut short", path);
    }
    return 0;
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t put = write(fd, p, n);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        p += put;
        n -= (size_t)put;
    }
    return true;
}

static void *load_copy(struct library *l, struct mg_str name, const char *p, size_t n)
{
    void *so = NULL;
    int fd;

    snprintf(l->folder, sizeof l->folder, "%s/moongate-%ld.XXXXXX", temp_folder(), (long)getpid());
    if (!mkdtemp(l->folder)) {
        l->folder[0] = 0;
        return NULL;
    }
    snprintf(l->file, sizeof l->file, "%s/%.*s.so", l->folder, (int)name.n, name.p);
    fd = open(l->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    if (fd >= 0) {
        if (write_all(fd, p, n))
            so = dlopen(l->file, RTLD_NOW | RTLD_LOCAL);
        close(fd);
    }
    if (!so) {
        unlink(l->file);
        rmdir(l->folder);
        l->folder[0] = 0;
    }
    return so;
}

/* Where the temporary folder does not let us write or execute. The descriptor stays open: its path is the object's name. */
static void *load_memory(struct mg_str name, const char *p, size_t n)
{
    char path[64], label[64];
    void *so = NULL;
    int fd;

    snprintf(label, sizeof label, "%.*s.so", (int)name.n, name.p);
    fd = memfd_create(label, MFD_CLOEXEC);
    if (fd < 0)
        return NULL;
    if (write_all(fd, p, n)) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    if (!so)
        close(fd);
    return so;
}

static int check(const struct mg_plugin *p, const char *path, struct mg_str name, struct mg_error *err)
{
    unsigned major = p->abi >> 16, minor = p->abi & 0xffff, ours = MG_PLUGIN_ABI >> 16, our_minor = MG_PLUGIN_ABI & 0xffff;

    if (major != ours || minor > our_minor)
        return mg_fail(err, MG_ECONF, "%s: built for plugin ABI %u.%u, this gateway has %u.%u", path, major, minor, ours, our_minor);
    if (p->size < offsetof(struct mg_plugin, on_wake) + sizeof p->on_wake || p->size > sizeof *p)
        return mg_fail(err, MG_ECONF, "%s: mg_plugin.size is %u, expected sizeof(struct mg_plugin), %zu", path, p->size, sizeof *p);
    if (!p->name || !mg_str_eq(mg_str_c(p->name), name))
        return mg_fail(err, MG_ECONF, "%s: calls itself \"%s\"; file and plugin must have one name", path, p->name ? p->name : "");
    if (p->fields && (p->field_bytes < offsetof(struct mg_field, doc) + sizeof p->fields->doc || p->field_bytes > sizeof(struct mg_field)))
        return mg_fail(err, MG_ECONF, "%s: mg_plugin.field_bytes is %u, expected sizeof(struct mg_field), %zu", path, p->field_bytes,
                       sizeof(struct mg_field));
    if (p->on_rewrite || p->on_request || p->on_request_body || p->on_response || p->on_response_body || p->on_log)
        return 0;
    return mg_fail(err, MG_ECONF, "%s: the plugin has no phase function", path);
}

static int load(struct library *l, const char *path, struct mg_str name, const char *bytes, size_t n, struct mg_error *err)
{
    const struct mg_plugin *theirs;
    void *so;
    int rc;

    so = load_copy(l, name, bytes, n);
    if (!so)
        so = load_memory(name, bytes, n);
    if (!so) {
        const char *why = dlerror();

        return mg_fail(err, MG_ECONF, "%s: %s", path, why ? why : "cannot be loaded");
    }
    theirs = dlsym(so, "mg_plugin");
    if (!theirs)
        return mg_fail(err, MG_ECONF, "%s: exports no mg_plugin (see moongate/plugin.h)", path);
    rc = check(theirs, path, name, err);
    if (rc)
        return rc;
    memcpy(&l->plugin, theirs, theirs->size);
    return 0;
}

uint64_t mg_library_digest(const struct mg_plugin *plugin)
{
    uint64_t digest = 0;

    pthread_mutex_lock(&lock);
    for (const struct library *l = libraries; l; l = l->next)
        if (&l->plugin == plugin)
            memcpy(&digest, l->digest, sizeof digest);
    pthread_mutex_unlock(&lock);
    return digest;
}

int mg_library_open(const char *path, struct mg_str name, const struct mg_plugin **out, struct mg_error *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct library *l;
    char *bytes = NULL;
    size_t n = 0;
    int rc = read_file(path, &bytes, &n, err);

    if (rc)
        return rc;
    rc = check_whole(path, bytes, n, err);
    if (rc) {
        free(bytes);
        return rc;
    }
    if (EVP_Digest(bytes, n, digest, NULL, EVP_sha256(), NULL) != 1) {
        free(bytes);
        return mg_fail(err, MG_ENOMEM, "%s: out of memory", path);
    }
    pthread_mutex_lock(&lock);
    for (l = libraries; l; l = l->next)
        if (!memcmp(l->digest, digest, DIGEST_BYTES))
            break;
    if (l) {
        rc = check(&l->plugin, path, name, err);
    } else if (!(l = calloc(1, sizeof *l))) {
        rc = mg_fail(err, MG_ENOMEM, "%s: out of memory", path);
    } else {
        if (owner != getpid()) {
            if (!owner)
                atexit(remove_copies);
            owner = getpid();
            sweep();
        }
        rc = load(l, path, name, bytes, n, err);
        if (rc) {
            if (l->folder[0]) { /* it stays mapped; its copy need not stay */
                unlink(l->file);
                rmdir(l->folder);
            }
            free(l);
        } else {
            memcpy(l->digest, digest, DIGEST_BYTES);
            l->next = libraries;
            libraries = l;
        }
    }
    if (!rc)
        *out = &l->plugin;
    pthread_mutex_unlock(&lock);
    free(bytes);
    return rc;
}
