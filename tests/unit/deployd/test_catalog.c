#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "deployd/catalog.h"
#include "tests/support/criterion.h"

static struct catalog catalog;
static unsigned changes;

static void on_change(void *context, struct service *service)
{
    (void)context, (void)service;
    changes++;
}

static void open_catalog(void)
{
    log_setup("test", LOG_LEVEL_ERROR);
    catalog = (struct catalog){ .on_change = on_change };
    changes = 0;
}

static void close_catalog(void)
{
    catalog_close(&catalog);
}

TestSuite(catalog, .init = open_catalog, .fini = close_catalog);

static struct service *make(const char *tenant_name, const char *name)
{
    struct tenant *tenant;
    struct service *service;
    struct problem problem;
    cr_assert_eq(catalog_tenant_make(&catalog, tenant_name, &tenant, &problem), STATUS_OK);
    cr_assert_eq(catalog_service_make(&catalog, tenant, name, &service, &problem), STATUS_OK);
    return service;
}

static const struct service_row running = {
    .tenant = "acme",
    .name = "api",
    .state = "running",
    .reason = "was deployed",
    .generation = 7,
    .since = 8,
    .pid = 4711,
    .started_ns = 1,
    .is_ready = true,
    .instance = "",
    .boot_id = "boot",
};

/* What before_sleep does, without a registry. */
static void end_of_turn(void)
{
    for (struct service *service; (service = catalog_next_changed(&catalog)) != NULL;)
        catalog_release(&catalog, service);
}

/* What waits for the same thing, for a supervisor to come up, say, goes on in this order. */
Test(catalog, keeps_the_services_of_a_tenant_in_the_order_in_which_they_came)
{
    static const char *const names[] = { "b", "a", "c" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        make("acme", names[i]);
    const struct service *service = catalog.tenants->services;
    for (size_t i = 0; i < COUNT_OF(names); i++, service = service->next)
        cr_assert_str_eq(service_name(service), names[i]);
    cr_assert_null(service);
}

Test(catalog, finds_what_was_made_and_makes_it_once)
{
    struct service *service = make("acme", "api");
    cr_assert_eq(make("acme", "api"), service);
    cr_assert_eq(catalog_service(&catalog, "acme", "api"), service);
    cr_assert_str_eq(service->key, "acme/api");
    cr_assert_str_eq(service_name(service), "api");
    cr_assert_null(catalog_service(&catalog, "acme", "apj"));
    cr_assert_null(catalog_service(&catalog, "acm", "e/api"));
}

Test(catalog, sorts_by_the_whole_key)
{
    make("b", "x");
    make("a-b", "x"); /* '-' is before '/' */
    make("a", "y");
    make("a", "x");
    size_t count;
    struct service **sorted = catalog_sorted(&catalog, NULL, &count);
    cr_assert_eq(count, 4);
    cr_assert_str_eq(sorted[0]->key, "a-b/x");
    cr_assert_str_eq(sorted[1]->key, "a/x");
    cr_assert_str_eq(sorted[2]->key, "a/y");
    cr_assert_str_eq(sorted[3]->key, "b/x");
    free(sorted);
    sorted = catalog_sorted(&catalog, catalog_tenant(&catalog, "a"), &count);
    cr_assert_eq(count, 2);
    free(sorted);
}

Test(catalog, keeps_the_row_of_what_is_held)
{
    struct service *service = make("acme", "api");
    cr_assert_eq(catalog_hold(&catalog, service, &running), STATUS_OK);
    struct buffer packed = { .limit = 4096 };
    struct arena arena = { .limit = 4096 };
    struct service_row row = { 0 };
    struct problem problem;
    char reason[REASON_BYTES_MAX + 1];
    catalog_row_write(service, &packed);
    cr_assert_eq(fields_decode(&record_service_row, buffer_span(&packed), &arena, &row, &problem),
                 STATUS_OK);
    cr_assert_eq(row.pid, 4711);
    cr_assert_str_eq(row.boot_id, "boot");
    cr_assert_str_eq(service_reason(service, reason), "was deployed");
    cr_assert(service->has_started);
    cr_assert_eq(changes, 1);
    buffer_close(&packed);
    arena_close(&arena);
}

Test(catalog, makes_a_row_for_what_is_wanted_and_not_held)
{
    struct service *service = make("acme", "api");
    catalog_want(&catalog, service, &(struct live_row){ .generation = 7, .since = 8 });
    catalog_unhold(&catalog, service, SERVICE_failed, "interpreter python9 not found");
    struct buffer packed = { .limit = 4096 };
    struct arena arena = { .limit = 4096 };
    struct service_row row = { 0 };
    struct problem problem;
    catalog_row_write(service, &packed);
    cr_assert_eq(fields_decode(&record_service_row, buffer_span(&packed), &arena, &row, &problem),
                 STATUS_OK);
    cr_assert_str_eq(row.state, "failed");
    cr_assert_str_eq(row.reason, "interpreter python9 not found");
    cr_assert_eq(row.generation, 7);
    cr_assert_eq(row.pid, 0);
    cr_assert_str_eq(row.boot_id, "", "how recoveryd knows that nothing holds it");
    buffer_close(&packed);
    arena_close(&arena);
}

static struct service *fail(const char *tenant, const char *name)
{
    struct service *service = make(tenant, name);
    catalog_fail_deploy(&catalog, service, 7, "exited with code 3", (struct span){ 0 });
    return service;
}

Test(catalog, shows_a_failed_deploy_until_it_is_wanted_or_forgotten)
{
    char reason[REASON_BYTES_MAX + 1];
    struct service *service = fail("acme", "api");
    catalog_want(&catalog, service, &(struct live_row){ 0 });
    end_of_turn();
    cr_assert_eq(catalog_service(&catalog, "acme", "api"), service);
    cr_assert(service_exists(service));
    cr_assert_eq(service->state, SERVICE_failed);
    cr_assert_eq(service->generation, 7);
    cr_assert_str_eq(service_reason(service, reason), "exited with code 3");
    cr_assert_not(service_has_row(service), "nothing holds it");
    catalog_want(&catalog, service, &(struct live_row){ .generation = 9, .since = 9 });
    cr_assert_not(service->is_failed_deploy);
    cr_assert_eq(catalog.failed_count, 0);
    catalog_want(&catalog, service, &(struct live_row){ 0 });
    catalog_fail_deploy(&catalog, service, 9, "x", (struct span){ 0 });
    catalog_forget_failure(&catalog, service);
    end_of_turn();
    cr_assert_null(catalog_service(&catalog, "acme", "api"));
}

Test(catalog, keeps_a_bounded_number_of_failed_deploys)
{
    char tenant[32], name[32];
    fail("quiet", "first");
    for (int i = 0; i < FAILED_DEPLOYS_PER_TENANT_MAX + 3; i++) {
        snprintf(name, sizeof name, "s%d", i);
        fail("acme", name);
    }
    end_of_turn();
    cr_assert_eq(catalog_tenant(&catalog, "acme")->failed_count, FAILED_DEPLOYS_PER_TENANT_MAX);
    cr_assert_null(catalog_service(&catalog, "acme", "s2"), "the oldest ones are forgotten");
    cr_assert_not_null(catalog_service(&catalog, "acme", "s3"));
    cr_assert_not_null(catalog_service(&catalog, "quiet", "first"), "only the tenant's own");
    for (int i = 0; i < FAILED_DEPLOYS_MAX; i++) {
        snprintf(tenant, sizeof tenant, "t%d", i / FAILED_DEPLOYS_PER_TENANT_MAX);
        snprintf(name, sizeof name, "s%d", i);
        fail(tenant, name);
    }
    end_of_turn();
    cr_assert_eq(catalog.failed_count, FAILED_DEPLOYS_MAX);
    cr_assert_null(catalog_service(&catalog, "quiet", "first"));
}

Test(catalog, forgets_what_nobody_refers_to_at_the_end_of_the_turn)
{
    struct service *service = make("acme", "api");
    catalog_want(&catalog, service, &(struct live_row){ .generation = 7, .since = 7 });
    end_of_turn();
    cr_assert_not_null(catalog_service(&catalog, "acme", "api"), "it is wanted");
    catalog_hold(&catalog, service, &running);
    catalog_want(&catalog, service, &(struct live_row){ 0 });
    end_of_turn();
    cr_assert_not_null(catalog_service(&catalog, "acme", "api"), "it is held");
    catalog_unhold(&catalog, service, SERVICE_wanted, "stopped");
    cr_assert_not(service_exists(service));
    end_of_turn();
    cr_assert_null(catalog_service(&catalog, "acme", "api"));
    cr_assert_eq(catalog.service_count, 0);
    cr_assert_null(catalog_tenant(&catalog, "acme"), "not in the log either");
    cr_assert_eq(catalog.tenant_count, 0);
}

Test(catalog, keeps_a_tenant_that_is_in_the_log)
{
    struct service *service = make("acme", "api");
    service->tenant->is_recorded = true;
    catalog_touch(&catalog, service);
    end_of_turn();
    cr_assert_not_null(catalog_tenant(&catalog, "acme"));
}

Test(catalog, lists_a_change_once)
{
    struct service *service = make("acme", "api");
    catalog_want(&catalog, service, &(struct live_row){ .generation = 7, .since = 7 });
    catalog_hold(&catalog, service, &running);
    catalog_touch(&catalog, service);
    cr_assert_eq(catalog_next_changed(&catalog), service);
    cr_assert_null(catalog_next_changed(&catalog));
}

Test(catalog, refuses_one_tenant_too_many_with_the_numbers)
{
    struct tenant *tenant;
    struct problem problem = { 0 };
    char name[16];
    for (int i = 0; i < TENANTS_MAX; i++) {
        snprintf(name, sizeof name, "t%d", i);
        cr_assert_eq(catalog_tenant_make(&catalog, name, &tenant, &problem), STATUS_OK);
    }
    cr_assert_eq(catalog_tenant_make(&catalog, "more", &tenant, &problem),
                 STATUS_RESOURCE_EXHAUSTED);
    cr_assert_not_null(strstr(problem.message, "1024"));
    cr_assert_eq(catalog_tenant_make(&catalog, "t0", &tenant, &problem), STATUS_OK);
}

Test(catalog, refuses_one_service_too_many_with_the_numbers)
{
    struct tenant *tenant, *other;
    struct service *service;
    struct problem problem = { 0 };
    char name[16];
    cr_assert_eq(catalog_tenant_make(&catalog, "acme", &tenant, &problem), STATUS_OK);
    cr_assert_eq(catalog_tenant_make(&catalog, "beta", &other, &problem), STATUS_OK);
    for (int i = 0; i < SERVICES_PER_TENANT_MAX; i++) {
        snprintf(name, sizeof name, "s%d", i);
        cr_assert_eq(catalog_service_make(&catalog, tenant, name, &service, &problem), STATUS_OK);
    }
    cr_assert_eq(catalog_service_make(&catalog, tenant, "more", &service, &problem),
                 STATUS_RESOURCE_EXHAUSTED);
    cr_assert_not_null(strstr(problem.message, "10000"));
    for (int i = SERVICES_PER_TENANT_MAX; i < SERVICES_MAX; i++) {
        snprintf(name, sizeof name, "s%d", i);
        cr_assert_eq(catalog_service_make(&catalog, other, name, &service, &problem), STATUS_OK);
    }
    cr_assert_eq(catalog_service_make(&catalog, other, "more", &service, &problem),
                 STATUS_RESOURCE_EXHAUSTED);
    cr_assert_not_null(strstr(problem.message, "16384"));
}

/* A transaction of the registry for each look at a service would be what a deploy waits for. */
Test(catalog, only_what_changes_a_row_has_it_written)
{
    struct service *service = make("acme", "api");
    const struct live_row wanted = { .generation = 7, .since = 8 }, unwanted = { 0 };
    catalog_touch(&catalog, service);
    cr_assert_not(service->is_row_stale);
    catalog_hold(&catalog, service, &running);
    cr_assert(service->is_row_stale);
    service->is_row_stale = false;
    catalog_want(&catalog, service, &wanted);
    catalog_changed(&catalog, service);
    cr_assert_not(service->is_row_stale, "the supervisor's row is as it was");
    catalog_unhold(&catalog, service, SERVICE_failed, "program not found");
    cr_assert(service->is_row_stale);
    service->is_row_stale = false;
    catalog_want(&catalog, service, &unwanted);
    cr_assert(service->is_row_stale, "it has to be removed");
}
