/* The fold, against an oracle written from the words of the design and not from the code: every
 * sequence of everything that can happen to one service, up to six long. */
#include "common/api/records/live_fold.h"

#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "common/wire/writer.h"
#include "tests/support/criterion.h"

static void setup(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
}

TestSuite(live_fold, .init = setup);

/* What can happen. Outcomes name the newest deploy ("current"), the one before it ("late"), or one
 * that never was. A redeploy is a deploy while another is wanted. */
enum happening {
    DEPLOY,
    FAIL_CURRENT,
    FAIL_LATE,
    COMPLETE_CURRENT,
    COMPLETE_LATE,
    CRASH,
    KILL,
    HAPPENINGS,
};
static const char letters[] = "DFfCcXK";
enum { LENGTH_MAX = 6 };

static struct hash hash_of_generation(uint64_t generation)
{
    return hash_of(span_of(&generation, sizeof generation));
}

static void pack_deploy(struct buffer *payload, uint64_t generation)
{
    struct hash hash = hash_of_generation(generation);
    write_map(payload, 2);
    write_str(payload, "spec");
    write_map(payload, 0);
    write_str(payload, "spec_hash");
    write_bin(payload, span_of(hash.bytes, HASH_BYTES));
}

static void pack_outcome(struct buffer *payload, uint64_t generation)
{
    write_map(payload, 1);
    write_str(payload, "generation");
    write_u64(payload, generation);
}

/* --- the oracle: looks back over the whole history each time, keeps no row --- */

struct history {
    struct {
        enum event_type type;
        uint64_t named;       /* generation, of outcomes */
    } events[LENGTH_MAX + 1]; /* from 1: the number of the event */
    uint64_t count;
};

struct wanted {
    bool is_wanted;
    uint64_t generation, since;
};

static struct wanted oracle_at(const struct history *history, uint64_t end);

/* What a deploy would fall back to: whatever was wanted just before it. */
static struct wanted before_deploy(const struct history *history, uint64_t generation)
{
    return oracle_at(history, generation - 1);
}

/* Wanted after the event with number `end`. */
static struct wanted oracle_at(const struct history *history, uint64_t end)
{
    if (end == 0)
        return (struct wanted){ 0 };
    struct wanted before = oracle_at(history, end - 1);
    uint64_t named = history->events[end].named;
    bool is_about_current = before.is_wanted && before.generation == named;
    switch (history->events[end].type) {
    case EVENT_service_deployed:
        return (struct wanted){ true, end, end };
    case EVENT_service_killed:
        return (struct wanted){ 0 };
    case EVENT_service_completed:
        return is_about_current ? (struct wanted){ 0 } : before;
    case EVENT_service_deployment_failed: {
        if (!is_about_current)
            return before;
        /* Only a deploy that is itself current falls back: after a fallback there is nothing more
         * to fall back to. */
        bool is_deploy = before.since == before.generation;
        struct wanted previous =
            is_deploy ? before_deploy(history, before.generation) : (struct wanted){ 0 };
        if (!previous.is_wanted)
            return (struct wanted){ 0 };
        return (struct wanted){ true, previous.generation, end };
    }
    default:
        return before;
    }
}

/* --- the fold under test --- */

struct folded {
    struct live_row row;
    bool is_wanted;
};

static void fold(struct folded *folded, enum event_type type, uint64_t id, uint64_t named)
{
    AUTO(buffer_close) struct buffer payload = { .limit = 256 };
    if (type == EVENT_service_deployed)
        pack_deploy(&payload, id);
    else if (named != 0)
        pack_outcome(&payload, named);
    const struct event event = {
        .id = id,
        .type = event_type_name(type),
        .tenant = "acme",
        .subject = "service/acme/api",
        .payload = buffer_span(&payload),
    };
    struct live_row after = { 0 };
    enum fold_change change;
    cr_assert_eq(live_fold(folded->is_wanted ? &folded->row : NULL, type, &event, &after, &change),
                 STATUS_OK);
    if (change == FOLD_PUT) {
        folded->row = after;
        folded->is_wanted = true;
    } else if (change == FOLD_DELETE) {
        cr_expect(folded->is_wanted, "only a row that is there is deleted");
        folded->is_wanted = false;
    }
}

static void run_sequence(const enum happening *sequence, size_t length)
{
    struct history history = { .count = 0 };
    struct folded folded = { .is_wanted = false };
    uint64_t deploys[LENGTH_MAX + 2] = { 0 };
    size_t deploy_count = 0;
    char text[LENGTH_MAX + 1] = "";
    for (size_t i = 0; i < length; i++) {
        uint64_t id = i + 1;
        uint64_t current = deploy_count > 0 ? deploys[deploy_count - 1] : 999;
        uint64_t late = deploy_count > 1 ? deploys[deploy_count - 2] : 999;
        enum event_type type = EVENT_service_crashed;
        uint64_t named = 0;
        switch (sequence[i]) {
        case DEPLOY:
            type = EVENT_service_deployed;
            deploys[deploy_count++] = id;
            break;
        case FAIL_CURRENT:
        case FAIL_LATE:
            type = EVENT_service_deployment_failed;
            named = sequence[i] == FAIL_CURRENT ? current : late;
            break;
        case COMPLETE_CURRENT:
        case COMPLETE_LATE:
            type = EVENT_service_completed;
            named = sequence[i] == COMPLETE_CURRENT ? current : late;
            break;
        case KILL:
            type = EVENT_service_killed;
            break;
        default:
            named = current;
            break;
        }
        text[i] = letters[sequence[i]];
        history.events[id].type = type;
        history.events[id].named = named;
        history.count = id;
        fold(&folded, type, id, named);

        struct wanted expected = oracle_at(&history, id);
        cr_assert_eq(folded.is_wanted, expected.is_wanted, "%s", text);
        if (!expected.is_wanted)
            continue;
        cr_assert_eq(folded.row.generation, expected.generation, "%s", text);
        cr_assert_eq(folded.row.since, expected.since, "%s", text);
        struct hash hash = hash_of_generation(expected.generation);
        cr_assert(hash_equal(&folded.row.spec_hash, &hash), "%s", text);
    }
}

Test(live_fold, every_sequence_agrees_with_the_oracle)
{
    size_t sequences = 0;
    for (size_t length = 1; length <= LENGTH_MAX; length++) {
        enum happening sequence[LENGTH_MAX] = { 0 };
        for (;;) {
            run_sequence(sequence, length);
            sequences++;
            size_t place = 0;
            while (place < length && ++sequence[place] == HAPPENINGS)
                sequence[place++] = 0;
            if (place == length)
                break;
        }
    }
    cr_expect_eq(sequences, 7 + 49 + 343 + 2401 + 16807 + 117649);
}

/* The cases a reader looks for, by hand. */
static struct folded fold_text(const char *text)
{
    struct folded folded = { .is_wanted = false };
    uint64_t id = 0, current = 0, late = 0;
    for (const char *p = text; *p != '\0'; p++) {
        id++;
        switch (*p) {
        case 'D':
            late = current;
            current = id;
            fold(&folded, EVENT_service_deployed, id, 0);
            break;
        case 'F':
            fold(&folded, EVENT_service_deployment_failed, id, current);
            break;
        case 'C':
            fold(&folded, EVENT_service_completed, id, current);
            break;
        case 'c':
            fold(&folded, EVENT_service_completed, id, late);
            break;
        case 'K':
            fold(&folded, EVENT_service_killed, id, 0);
            break;
        default:
            fold(&folded, EVENT_service_stopped, id, current);
            break;
        }
    }
    return folded;
}

Test(live_fold, deployed_killed_deployed_is_wanted)
{
    struct folded folded = fold_text("DKD");
    cr_assert(folded.is_wanted);
    cr_expect_eq(folded.row.generation, 3);
    cr_expect_eq(folded.row.previous, 0, "what was killed is nothing to fall back to");
}

Test(live_fold, a_late_completion_of_an_old_generation_changes_nothing)
{
    struct folded folded = fold_text("DDc");
    cr_assert(folded.is_wanted);
    cr_expect_eq(folded.row.generation, 2);
    cr_expect_eq(folded.row.previous, 1);
}

Test(live_fold, a_failed_redeploy_falls_back_and_a_failed_first_deploy_does_not)
{
    struct folded folded = fold_text("DDF");
    cr_assert(folded.is_wanted);
    cr_expect_eq(folded.row.generation, 1);
    cr_expect_eq(folded.row.since, 3, "the fallback fences what came before it");
    cr_expect_not(fold_text("DF").is_wanted);
    cr_expect_not(fold_text("DKDF").is_wanted, "a kill stays, whatever fails later");
}

Test(live_fold, only_kill_completion_and_first_failure_end_what_is_wanted)
{
    cr_expect_not(fold_text("DK").is_wanted);
    cr_expect_not(fold_text("DC").is_wanted);
    cr_expect(fold_text("Dx").is_wanted, "a stop");
    for (int type = 0; type < EVENT_TYPES; type++) {
        struct folded folded = fold_text("D");
        if (!event_type_folds((enum event_type)type)) {
            fold(&folded, (enum event_type)type, 2, 1);
            cr_expect(folded.is_wanted, "%s", event_type_name((enum event_type)type));
        }
    }
}

Test(live_fold, a_payload_that_lacks_what_its_type_needs_is_data_loss)
{
    static const enum event_type types[] = { EVENT_service_deployed, EVENT_service_completed,
                                             EVENT_service_deployment_failed };
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        const struct event event = { .id = 2, .type = event_type_name(types[i]) };
        struct live_row before = { .generation = 1, .since = 1 }, after;
        enum fold_change change;
        cr_expect_eq(live_fold(&before, types[i], &event, &after, &change), STATUS_DATA_LOSS);
        cr_expect_eq(change, FOLD_NOTHING);
    }
}
