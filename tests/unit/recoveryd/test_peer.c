/* Who is there to be asked. */
#include "recoveryd/peer.h"

#include <sys/socket.h>

#include "common/base/auto.h"
#include "common/base/file.h"
#include "common/base/unix_socket.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

TestSuite(peer, .init = scratch_make, .fini = scratch_remove);

static enum status open_deployd(void)
{
    AUTO(peer_close) struct peer peer = { 0 };
    return peer_open_daemon(&peer, scratch_path("."), "deployd");
}

Test(peer, a_full_backlog_is_no_absence)
{
    int listener, waiting[8] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    size_t count = 0;
    cr_expect_eq(open_deployd(), STATUS_UNAVAILABLE, "there is no socket");
    cr_assert_eq(unix_socket_listen(scratch_path("deployd.sock"), 0600, &listener), STATUS_OK);
    cr_expect_eq(open_deployd(), STATUS_OK);
    cr_assert_eq(listen(listener, 1), 0); /* that one waits to be accepted still */
    while (unix_socket_connect(scratch_path("deployd.sock"), &waiting[count]) == STATUS_OK)
        cr_assert_lt(++count, COUNT_OF(waiting));
    cr_expect_eq(open_deployd(), STATUS_OK);
    while (count > 0)
        fd_close(&waiting[--count]);
    fd_close(&listener);
    cr_expect_eq(open_deployd(), STATUS_UNAVAILABLE, "nobody listens");
}
