/* libsodium's guarded allocations, plus the certainty that they are locked: sodium_malloc(3) goes
 * on when the kernel refuses that. */
#include "common/secret/secret.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/ensure.h"
#include "common/base/log.h"

bool memory_lock(void *data, size_t size)
{
    /* A page when it is first used; older kernels know only all of them at once. (Not by way of the
     * C library: under AddressSanitizer that does nothing.) */
    return syscall(SYS_mlock2, data, size, MLOCK_ONFAULT) == 0 ||
           (errno == ENOSYS && syscall(SYS_mlock, data, size) == 0);
}

const char *memory_lock_problem(void)
{
    static char text[256];
    struct rlimit limit = { 0 };
    getrlimit(RLIMIT_MEMLOCK, &limit);
    snprintf(text, sizeof text, "RLIMIT_MEMLOCK is %llu bytes", (unsigned long long)limit.rlim_max);
    return text;
}

void memory_lock_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        log_warning("raise RLIMIT_MEMLOCK", "reason", strerror(errno));
}

enum status secret_new(struct secret *secret, size_t size)
{
    ensure(secret->data == NULL);
    if (sodium_init() < 0)
        return log_failure(STATUS_INTERNAL, "start libsodium", "reason", "no randomness");
    void *data = sodium_malloc(size);
    if (data == NULL)
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "take memory for a key", "reason",
                           strerror(errno));
    if (!memory_lock(data, size)) {
        sodium_free(data);
        return log_failure(STATUS_RESOURCE_EXHAUSTED, "lock memory for a key", "reason",
                           memory_lock_problem());
    }
    sodium_memzero(data, size);
    ensure(sodium_mprotect_noaccess(data) == 0);
    *secret = (struct secret){ .data = data, .size = size };
    return STATUS_OK;
}

void secret_free(struct secret *secret)
{
    if (secret->data != NULL)
        sodium_free(secret->data); /* wipes, after making it accessible */
    *secret = (struct secret){ 0 };
}

void *secret_open(struct secret *secret)
{
    ensure(secret->data != NULL);
    if (secret->openings++ == 0)
        ensure(sodium_mprotect_readwrite(secret->data) == 0);
    return secret->data;
}

void secret_close(struct secret *secret)
{
    ensure(secret->openings > 0);
    if (--secret->openings == 0)
        ensure(sodium_mprotect_noaccess(secret->data) == 0);
}
