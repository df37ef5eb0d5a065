/* vaultd's own methods, over a real and open vault, on any bytes from a client: whatever comes is
 * answered in whole messages, and the vault is neither damaged by it nor left within a turn. The
 * first byte chooses how the bytes are cut into sends. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/access/access.h"
#include "common/base/auto.h"
#include "common/base/ensure.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "tests/fuzz/messages.h"
#include "vaultd/methods.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROUTES_MAX = 64, EVENTS_MAX = 1000, ROUNDS = 16 };

static struct vaultd vaultd;
static struct ev_loop *loop;
static struct settings settings;
static struct rpc_service service;
static struct rpc_route routes[ROUTES_MAX];
static struct access nobody;
static char dir[] = "/tmp/solo-fuzz-XXXXXX";

static enum status authorise(void *access, struct rpc_call *call, struct span token)
{
    (void)access, (void)token;
    call->caller.kind = CALLER_OPERATOR;
    return STATUS_OK;
}

/* The vault's own, without daemon.*, which concern the process. */
static void take_routes(void)
{
    size_t count = 0;
    for (const struct rpc_route *route = service.routes; route->method != NULL; route++)
        if (strncmp(route->method->name, "daemon.", strlen("daemon.")) != 0)
            routes[count++] = *route;
    ensure(count > 0);
    ensure(count < ROUTES_MAX);
    service.routes = routes;
    service.authorise = authorise;
}

static void remove_folder(void)
{
    directory_remove(dir);
}

static void close_vault(void)
{
    if (vaultd.vault.settings == NULL)
        return;
    vaultd_close(&vaultd);
    directory_remove(dir);
}

static void make_folders(void)
{
    ensure(mkdir(dir, 0700) == 0 || errno == EEXIST);
    ensure(mkdir(settings.data_dir, 0700) == 0);
    ensure(mkdir(settings.run_dir, 0700) == 0);
}

/* An empty one, vouched for: no eventd is needed to open it, and none is there. */
static void open_vault(void)
{
    char path[4096], eventd[4096];
    close_vault();
    make_folders();
    vaultd = (struct vaultd){ .vault.store.db.lease = FILE_LOCK_NONE };
    ensure(locked_pool_open(&vaultd.vault.pool, VAULT_LOCKED_BYTES) == STATUS_OK);
    ensure(path_join(path, settings.data_dir, "vault") == STATUS_OK);
    ensure(path_join(eventd, settings.run_dir, "eventd.sock") == STATUS_OK);
    vaultd_service(&vaultd, &service);
    take_routes();
    ensure(vault_open(&vaultd.vault, &settings, path) == STATUS_OK);
    store_voucher_give(&vaultd.vault.store.voucher, &vaultd.vault.store.db);
    ensure(vault_store_open_outbox(&vaultd.vault.store, loop, eventd, (struct span){ 0 }, NULL,
                                   NULL) == STATUS_OK);
    denials_open(&vaultd.denials, &vaultd.vault, &nobody, loop);
    opening_open(&vaultd.opening, &vaultd.vault, loop);
    rotation_open(&vaultd.rotation, &vaultd.vault, loop);
    verification_open(&vaultd.verification, &vaultd.vault, loop);
    delivery_open(&vaultd.delivery, &vaultd.vault, loop);
    opening_begin(&vaultd.opening);
}

static void set_up(void)
{
    ensure(mkdtemp(dir) != NULL);
    char data[64], run[64];
    snprintf(data, sizeof data, "%s/data", dir);
    snprintf(run, sizeof run, "%s/run", dir);
    char *arguments[] = {
        "vaultd", "--data", data, "--run", run, "--set", "vault_argon2_memory_bytes=8388608", NULL
    };
    ensure(settings_load(&settings, "vaultd", NULL, (int)COUNT_OF(arguments) - 1, arguments) ==
           STATUS_OK);
    atexit(remove_folder);
    if (getenv("SOLO_FUZZ_VERBOSE") == NULL)
        ensure(freopen("/dev/null", "w", stderr) != NULL);
    loop = ev_loop_new(EVFLAG_AUTO);
    open_vault();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rpc_server *server = NULL;
    int pair[2];
    if (loop == NULL)
        set_up();
    if (size < 2)
        return 0;
    if (!vaultd.vault.keyring.is_open || outbox_waiting(&vaultd.vault.store.outbox) > EVENTS_MAX)
        open_vault();
    const struct rpc_limits limits = vaultd_limits();
    ensure(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    ensure(rpc_server_open_with(&server, loop, &service, -1, &limits) == STATUS_OK);
    ensure(rpc_server_adopt(server, pair[0]) == STATUS_OK);
    size_t step = (size_t)data[0] + 1, done = 1;
    while (done < size) {
        size_t part = size - done < step ? size - done : step;
        ssize_t sent = send(pair[1], data + done, part, MSG_NOSIGNAL);
        if (sent < 0)
            break;
        done += (size_t)sent;
        ev_run(loop, EVRUN_NOWAIT);
    }
    for (int i = 0; i < ROUNDS; i++)
        ev_run(loop, EVRUN_NOWAIT);
    ensure(!vaultd.vault.is_damaged);
    messages_expect(pair[1]);
    close(pair[1]);
    for (int i = 0; i < ROUNDS; i++)
        ev_run(loop, EVRUN_NOWAIT);
    rpc_server_close(&server);
    ensure(!vaultd.vault.store.in_turn);
    ensure(manifests_broken(&vaultd.vault.manifests) == 0);
    return 0;
}
