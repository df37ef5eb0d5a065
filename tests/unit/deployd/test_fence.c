/* One table for every pair of what was to be done and what the log says now. */
#include "common/base/auto.h"
#include "deployd/fence.h"
#include "tests/support/criterion.h"

struct position {
    uint64_t generation, since;
};

/* clang-format off */
static const struct {
    const char *what;
    int kind;
    struct position asked, wanted, held; /* 0: nothing is */
    bool is_refused;
    enum fence verdict;
} cases[] = {
    { "wanted as asked",                         FENCE_START, { 7, 7 }, { 7, 7 },  { 0, 0 },   false, FENCE_ACT },
    { "an older one is held",                    FENCE_START, { 7, 7 }, { 7, 7 },  { 5, 5 },   false, FENCE_ACT },
    { "killed since",                            FENCE_START, { 7, 7 }, { 0, 0 },  { 7, 7 },   false, FENCE_OVERTAKEN },
    { "deployed since",                          FENCE_START, { 7, 7 }, { 9, 9 },  { 7, 7 },   false, FENCE_OVERTAKEN },
    { "fell back since",                         FENCE_START, { 9, 9 }, { 7, 10 }, { 9, 9 },   false, FENCE_OVERTAKEN },
    { "another generation of the same event",    FENCE_START, { 6, 8 }, { 7, 8 },  { 0, 0 },   false, FENCE_OVERTAKEN },
    { "the log is older than what it wanted",    FENCE_START, { 9, 9 }, { 7, 7 },  { 9, 9 },   false, FENCE_LOG_WENT_BACK },
    { "refused, killed since",                   FENCE_START, { 7, 7 }, { 0, 0 },  { 0, 0 },   true,  FENCE_OVERTAKEN },
    { "refused, deployed since",                 FENCE_START, { 7, 7 }, { 9, 9 },  { 0, 0 },   true,  FENCE_OVERTAKEN },
    { "refused, it is just being stopped",       FENCE_START, { 7, 7 }, { 7, 7 },  { 7, 7 },   true,  FENCE_OVERTAKEN },
    { "refused for something newer",             FENCE_START, { 7, 7 }, { 7, 7 },  { 40, 40 }, true,  FENCE_LOG_WENT_BACK },
    { "refused for a kill that nobody recorded", FENCE_START, { 7, 7 }, { 7, 7 },  { 0, 0 },   true,  FENCE_LOG_WENT_BACK },
    { "not wanted",                              FENCE_STOP,  { 7, 7 }, { 0, 0 },  { 7, 7 },   false, FENCE_ACT },
    { "wanted again",                            FENCE_STOP,  { 7, 7 }, { 9, 9 },  { 7, 7 },   false, FENCE_OVERTAKEN },
    { "another one is held",                     FENCE_STOP,  { 7, 7 }, { 0, 0 },  { 9, 9 },   false, FENCE_OVERTAKEN },
    { "refused, something else was ordered",     FENCE_STOP,  { 7, 7 }, { 0, 0 },  { 7, 7 },   true,  FENCE_OVERTAKEN },
    { "a kill ends what was before it",          FENCE_KILL,  { 8, 8 }, { 0, 0 },  { 7, 7 },   false, FENCE_ACT },
    { "refused, deployed after the kill",        FENCE_KILL,  { 8, 8 }, { 9, 9 },  { 9, 9 },   true,  FENCE_OVERTAKEN },
    { "refused, deployed and killed after it",   FENCE_KILL,  { 8, 8 }, { 0, 0 },  { 9, 9 },   true,  FENCE_OVERTAKEN },
    { "refused, and the log wants nothing",      FENCE_KILL,  { 8, 8 }, { 0, 0 },  { 40, 40 }, true,  FENCE_LOG_WENT_BACK },
    { "refused, wanted from before the kill",    FENCE_KILL,  { 8, 8 }, { 7, 7 },  { 40, 40 }, true,  FENCE_LOG_WENT_BACK },
};
/* clang-format on */

Test(fence, says_what_the_log_makes_of_a_request_and_of_its_refusal)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct live_row wanted = { .generation = cases[i].wanted.generation,
                                         .since = cases[i].wanted.since };
        const struct fence_case fence = {
            .what = cases[i].kind,
            .generation = cases[i].asked.generation,
            .since = cases[i].asked.since,
            .wanted = &wanted,
            .is_held = cases[i].held.generation != 0,
            .held_generation = cases[i].held.generation,
            .held_since = cases[i].held.since,
            .is_refused = cases[i].is_refused,
            .newest = 12,
        };
        cr_assert_eq(fence_judge(&fence), cases[i].verdict, "%s: %s", cases[i].what,
                     fence_judge(&fence) == FENCE_ACT ? "act" : "another one");
    }
}
