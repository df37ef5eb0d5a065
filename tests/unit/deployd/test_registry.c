/* The registry is the actual state, also when it could not be written for a while. */
#include "deployd/registry.h"

#include <string.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/support/criterion.h"
#include "tests/unit/common/base/scratch.h"

static struct catalog catalog;
static struct registry registry;

static void begin(void)
{
    log_setup("test", LOG_LEVEL_ERROR + 1);
    scratch_make();
    cr_assert_eq(registry_open(&registry, scratch_path("")), STATUS_OK);
    registry_prune(&registry, &catalog);
}

static void end(void)
{
    registry_close(&registry);
    catalog_close(&catalog);
    scratch_remove();
}

TestSuite(registry, .init = begin, .fini = end);

static struct service *hold(const char *name, uint64_t pid)
{
    const struct service_row row = { .tenant = "acme",
                                     .name = name,
                                     .state = "running",
                                     .reason = "",
                                     .generation = 7,
                                     .since = 7,
                                     .pid = pid,
                                     .instance = "",
                                     .boot_id = "boot" };
    struct tenant *tenant;
    struct service *service;
    struct problem problem;
    cr_assert_eq(catalog_tenant_make(&catalog, "acme", &tenant, &problem), STATUS_OK);
    cr_assert_eq(catalog_service_make(&catalog, tenant, name, &service, &problem), STATUS_OK);
    cr_assert_eq(catalog_hold(&catalog, service, &row), STATUS_OK);
    return service;
}

/* 0: there is no row. */
static uint64_t pid_in_row(const char *key)
{
    AUTO(arena_close) struct arena arena = { .limit = 16384 };
    struct service_row row = { 0 };
    enum status status = registry_find(&registry, key, &arena, &row);
    cr_assert(status == STATUS_OK || status == STATUS_NOT_FOUND);
    return status == STATUS_OK ? row.pid : 0;
}

static void a_moment_passes(void)
{
    registry.failed_ns = clock_boottime_ns() - 2000000000u;
}

Test(registry, rows_that_could_not_be_written_are_written_when_it_is_possible_again)
{
    struct service *gone = hold("gone", 11);
    hold("api", 12);
    registry_flush(&registry, &catalog);
    cr_assert_eq(pid_in_row("acme/api"), 12);
    registry.db.is_failed = true; /* as a full disk: nothing can be written */
    hold("api", 13);
    hold("late", 14);
    catalog_unhold(&catalog, gone, SERVICE_wanted, "it was killed");
    registry_flush(&registry, &catalog);
    registry.db.is_failed = false;
    cr_assert_eq(pid_in_row("acme/api"), 12);
    a_moment_passes();
    registry_flush(&registry, &catalog);
    cr_expect_eq(pid_in_row("acme/api"), 13);
    cr_expect_eq(pid_in_row("acme/late"), 14);
    cr_expect_eq(pid_in_row("acme/gone"), 0);
    cr_expect_not(registry.is_behind);
}

/* Another deployd of this boot shows what an earlier one was told. */
Test(registry, what_the_last_verification_found_outlives_deployd)
{
    uint8_t room[64];
    cr_expect_eq(registry_verified(&registry, room, sizeof room).size, 0);
    registry_put_verified(&registry, span_of_text("one"));
    registry_put_verified(&registry, span_of_text("another"));
    registry_close(&registry);
    cr_assert_eq(registry_open(&registry, scratch_path("")), STATUS_OK);
    struct span found = registry_verified(&registry, room, sizeof room);
    cr_assert_eq(found.size, strlen("another"));
    cr_expect_eq(memcmp(found.data, "another", found.size), 0);
}
