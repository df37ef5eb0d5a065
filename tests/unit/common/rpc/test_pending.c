/* Slots, handles and the bound of a client's calls. */
#include "common/base/auto.h"
#include "common/base/limits.h"
#include "common/rpc/pending.h"
#include "tests/support/criterion.h"

Test(pending, finds_each_call_until_it_is_taken)
{
    AUTO(pending_close) struct pending pending = { 0 };
    struct pending_call *calls[100];
    for (size_t i = 0; i < COUNT_OF(calls); i++)
        cr_assert_eq(pending_add(&pending, &calls[i]), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        cr_expect_eq(pending_find(&pending, calls[i]->msgid), calls[i]);
        cr_expect_eq(pending_find_handle(&pending, calls[i]->handle), calls[i]);
    }
    uint64_t handle = calls[50]->handle;
    uint32_t msgid = calls[50]->msgid;
    pending_take(&pending, calls[50]);
    pending_free(calls[50]);
    cr_expect_null(pending_find(&pending, msgid));
    struct pending_call *again;
    cr_assert_eq(pending_add(&pending, &again), STATUS_OK);
    cr_expect_null(pending_find_handle(&pending, handle), "the slot is used by another call");
    cr_expect_null(pending_find(&pending, msgid));
    cr_expect_eq(pending.count, COUNT_OF(calls));
}

Test(pending, a_handle_tells_which_call_was_made_later)
{
    AUTO(pending_close) struct pending pending = { 0 };
    struct pending_call *first, *second;
    cr_assert_eq(pending_add(&pending, &first), STATUS_OK);
    cr_assert_eq(pending_add(&pending, &second), STATUS_OK);
    uint64_t before = pending_serial(first->handle);
    cr_expect_eq(pending_serial(second->handle), before + 1);
    /* Also when it has the slot of an earlier one. */
    pending_take(&pending, first);
    pending_free(first);
    cr_assert_eq(pending_add(&pending, &first), STATUS_OK);
    cr_expect_eq(pending_serial(first->handle), before + 2);
    cr_expect_eq(pending_serial(first->handle), pending.serial);
}

Test(pending, refuses_more_than_its_bound_and_recovers)
{
    AUTO(pending_close) struct pending pending = { 0 };
    struct pending_call *call = NULL;
    for (size_t i = 0; i < CLIENT_PENDING_MAX; i++)
        cr_assert_eq(pending_add(&pending, &call), STATUS_OK);
    struct pending_call *refused;
    cr_expect_eq(pending_add(&pending, &refused), STATUS_RESOURCE_EXHAUSTED);
    pending_take(&pending, call);
    pending_free(call);
    cr_expect_eq(pending_add(&pending, &call), STATUS_OK);
    cr_expect_eq(pending_find(&pending, call->msgid), call);
}

Test(pending, the_first_that_is_queued_moves_on_when_it_is_taken)
{
    AUTO(pending_close) struct pending pending = { 0 };
    struct pending_call *calls[3];
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(pending_add(&pending, &calls[i]), STATUS_OK);
    cr_expect_eq(pending.queued, calls[0]);
    pending_take(&pending, calls[0]);
    pending_free(calls[0]);
    cr_expect_eq(pending.queued, calls[1]);
    pending_take(&pending, calls[2]);
    pending_free(calls[2]);
    cr_expect_eq(pending.queued, calls[1]);
    pending_take(&pending, calls[1]);
    pending_free(calls[1]);
    cr_expect_null(pending.queued);
    cr_expect_null(pending.first);
}
