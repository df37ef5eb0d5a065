/* The moves of a build. What its compiler does to it is tried with real ones in test_builds. */
#include "tenantd/build.h"

#include "tests/support/criterion.h"

Test(build, goes_one_way)
{
    static const bool may[BUILD_STATES][BUILD_STATES] = {
        [BUILD_QUEUED] = { [BUILD_RUNNING] = true, [BUILD_DONE] = true },
        [BUILD_RUNNING] = { [BUILD_ENDING] = true },
        [BUILD_ENDING] = { [BUILD_DONE] = true },
    };
    for (int from = 0; from < BUILD_STATES; from++)
        for (int to = 0; to < BUILD_STATES; to++)
            cr_assert_eq(build_may_move((enum build_state)from, (enum build_state)to),
                         may[from][to], "from %d to %d", from, to);
}
