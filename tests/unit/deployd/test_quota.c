/* What a tenant is told of when it has nearly used it up. */
#include "deployd/quota.h"
#include "tests/support/criterion.h"
#include "tests/unit/deployd/operation_world.h"

TestSuite(quota, .init = world_open, .fini = world_close);

Test(quota, what_could_not_be_recorded_is_told_again)
{
    world.deployd.settings.tenant_services_max = 1;
    world.tenant->are_totals_known = true;
    world_runs(7, "");
    quota_look(&world.deployd, world.tenant, 7);
    quota_look(&world.deployd, world.tenant, 8);
    cr_assert_eq(world.asked_count, 1, "it is on its way");
    world_append_fails("resource_usage_high", STATUS_RESOURCE_EXHAUSTED);
    cr_assert_not(quota_is_high(world.tenant));
    quota_look(&world.deployd, world.tenant, 9);
    world_append("resource_usage_high");
    cr_assert(quota_is_high(world.tenant));
    quota_look(&world.deployd, world.tenant, 10);
    world_nothing_asked();
}
