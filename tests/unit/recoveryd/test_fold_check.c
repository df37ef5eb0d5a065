#include "tests/support/criterion.h"

#include "common/base/auto.h"
#include "recoveryd/fold_check.h"
#include "tests/unit/recoveryd/log_maker.h"

static struct log_maker maker;

static void set_up(void)
{
    log_maker_open(&maker);
    log_deploy(&maker, "acme", "api", "sh");
    log_deploy(&maker, "acme", "web", "sh");
    log_append(&maker, "app.noise", "acme", "", "{}");
    log_deploy(&maker, "acme", "api", "cat");
    log_append(&maker, "service_killed", "acme", "web", "{}");
}

static void tear_down(void)
{
    log_maker_close(&maker);
}

TestSuite(fold_check, .init = set_up, .fini = tear_down);

static void assert_found(const char *code, const char *name)
{
    AUTO(findings_close) struct findings findings = { 0 };
    uint64_t next, folded;
    log_maker_finish(&maker);
    cr_assert_eq(fold_check(&maker.settings, &findings, &folded, &next), STATUS_OK);
    cr_assert_eq(folded, 5);
    cr_assert_eq(findings.count, code == NULL ? 0 : 1);
    if (code == NULL)
        return;
    cr_assert_str_eq(finding_code_name(findings.items[0].code), code);
    cr_assert_str_eq(findings.items[0].tenant, "acme");
    cr_assert_str_eq(findings.items[0].name, name);
}

Test(fold_check, live_is_the_fold_of_the_log)
{
    assert_found(NULL, "");
}

Test(fold_check, a_row_that_is_missing_is_found)
{
    log_put_live(&maker, "acme", "api", NULL);
    assert_found("live_missing", "api");
}

Test(fold_check, a_row_too_many_is_found)
{
    log_put_live(&maker, "acme", "web", &(struct live_row){ .generation = 2, .since = 2 });
    assert_found("live_extra", "web");
}

Test(fold_check, a_row_that_differs_is_found)
{
    log_put_live(&maker, "acme", "api", &(struct live_row){ .generation = 1, .since = 1 });
    assert_found("live_differs", "api");
}

Test(fold_check, a_broken_link_is_data_loss)
{
    maker.previous.bytes[0] ^= 1;
    log_append(&maker, "app.noise", "acme", "", "{}");
    log_maker_finish(&maker);
    AUTO(findings_close) struct findings findings = { 0 };
    uint64_t next, folded;
    cr_assert_eq(fold_check(&maker.settings, &findings, &folded, &next), STATUS_DATA_LOSS);
    cr_assert_eq(next, folded + 1);
}
