#include "tests/unit/eventd/log_cutting.h"

#include "common/api/records/log_cut.h"
#include "common/api/records/log_state.h"
#include "common/base/auto.h"
#include "eventd/pruning.h"
#include "tests/support/criterion.h"
#include "tests/unit/eventd/log_fixture.h"

static void fold_to(uint64_t id, struct log_cut *cut, struct buffer *state)
{
    AUTO(db_end) struct db_txn txn = { 0 };
    AUTO(log_fold_close) struct log_fold fold = { 0 };
    cr_assert_eq(db_begin_read(&store.db, &txn), STATUS_OK);
    cr_assert_eq(log_fold_open_at_cut(&fold, &txn), STATUS_OK);
    cr_assert_eq(log_fold_advance(&fold, &txn, id, UINT64_MAX), STATUS_OK);
    cr_assert_eq(fold.next, id + 1);
    cr_assert_eq(log_state_pack(&fold, state), STATUS_OK);
    *cut = (struct log_cut){
        .id = id,
        .hash = fold.previous,
        .wall_ns = 1,
        .state = hash_of(buffer_span(state)),
        .state_bytes = state->size,
    };
}

void fixture_cut(uint64_t id)
{
    AUTO(buffer_close) struct buffer state = { .limit = LOG_STATE_BYTES_MAX };
    struct log_cut cut;
    cr_assert_eq(event_store_write_late_rows(&store), STATUS_OK);
    fold_to(id, &cut, &state);
    cr_assert_eq(event_store_begin(&store), STATUS_OK);
    cr_assert_eq(log_cut_begin_state(&store.txn, id, state.size), STATUS_OK);
    for (size_t at = 0; at < state.size; at += LOG_STATE_PART_BYTES) {
        size_t left = state.size - at;
        cr_assert_eq(
            log_cut_put_part(&store.txn, id, (unsigned)(at / LOG_STATE_PART_BYTES),
                             span_of(state.data + at,
                                     left < LOG_STATE_PART_BYTES ? left : LOG_STATE_PART_BYTES)),
            STATUS_OK);
    }
    cr_assert_eq(log_cut_write(&store.txn, &cut), STATUS_OK);
    cr_assert_eq(event_store_commit(&store), STATUS_OK);
}

uint64_t fixture_prune(void)
{
    AUTO(pruning_close) struct pruning pruning = { 0 };
    cr_assert_eq(pruning_open(&pruning, &store), STATUS_OK);
    for (int i = 0; i < 10000 && !pruning.is_done; i++)
        cr_assert_eq(pruning_step(&pruning), STATUS_OK);
    cr_assert(pruning.is_done);
    return pruning.events;
}
