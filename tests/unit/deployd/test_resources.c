/* What deployd tells of what it may run out of is in the log in the end: the test plays eventd. */
#include "deployd/resources.h"

#include <string.h>

#include "deployd/appends.h"
#include "tests/support/criterion.h"

static struct deployd deployd;
static rpc_on_reply on_reply; /* of the one on its way; NULL: there is none */
static void *waiting;
static unsigned sent;

enum status append_send(struct deployd *sender, const struct event_append_request *request,
                        const struct uuid *request_id, uint64_t timeout_ms, rpc_on_reply reply,
                        void *context)
{
    (void)sender, (void)request_id, (void)timeout_ms;
    cr_assert_null(on_reply, "one at a time");
    cr_assert_str_eq(request->type, "resource_usage_high");
    on_reply = reply;
    waiting = context;
    sent++;
    return STATUS_OK;
}

static void answer(enum status status)
{
    const struct event_append_reply reply = { .event_id = 7 };
    rpc_on_reply answered = on_reply;
    cr_assert_not_null(answered, "nothing is on its way");
    on_reply = NULL;
    answered(waiting, status, NULL, status == STATUS_OK ? &reply : NULL);
}

static void open_all(void)
{
    deployd = (struct deployd){ .loop = ev_loop_new(EVFLAG_NOENV), .boot.state = BOOT_READY };
    cr_assert_eq(resources_open(&deployd), STATUS_OK);
}

static void close_all(void)
{
    resource_watch_close(&deployd.resources);
    ev_loop_destroy(deployd.loop);
}

TestSuite(resources, .init = open_all, .fini = close_all);

/* Both are looked at. false: something is still to be told. */
static bool look(bool map_is_high, bool readers_are_high)
{
    struct resource_use uses[RESOURCES] = { { 0 } };
    uses[RESOURCE_map] = (struct resource_use){ map_is_high ? 95 : 10, 100 };
    uses[RESOURCE_readers] = (struct resource_use){ readers_are_high ? 95 : 10, 100 };
    return resource_watch_judge(&deployd.resources, uses);
}

Test(resources, what_eventd_did_not_record_is_told_again)
{
    cr_expect(look(true, false));
    answer(STATUS_UNAVAILABLE);
    cr_expect(look(true, false));
    answer(STATUS_IO);
    cr_expect(look(true, false));
    answer(STATUS_OK);
    cr_expect(look(true, false));
    cr_expect_eq(sent, 3, "it is recorded");
}

Test(resources, one_waits_until_the_other_is_recorded)
{
    cr_expect_not(look(true, true), "the second one waits");
    cr_expect_not(look(true, true));
    answer(STATUS_UNAVAILABLE);
    cr_expect_not(look(true, true));
    answer(STATUS_OK);
    cr_expect(look(true, true));
    answer(STATUS_OK);
    cr_expect(look(true, true));
    cr_expect_eq(sent, 3);
}

Test(resources, nothing_is_told_before_deployd_is_ready)
{
    deployd.boot.state = BOOT_RECONCILING;
    cr_expect_not(look(true, false));
    cr_expect_eq(sent, 0);
    deployd.boot.state = BOOT_READY;
    cr_expect(look(true, false));
    cr_expect_eq(sent, 1);
}
