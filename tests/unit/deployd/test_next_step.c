/* What helps a service in each of its states, a command per line. */
#include "deployd/next_step.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/criterion.h"

static struct tenant tenant;
static struct service *service;
static char text[NEXT_STEP_BYTES];

/* Names as long as they may be: no command may be cut. */
static void begin(void)
{
    static _Alignas(struct service) char place[sizeof(struct service) + SERVICE_KEY_BYTES];
    memset(place, 0, sizeof place);
    memset(&tenant, 0, sizeof tenant);
    service = (struct service *)place;
    service->tenant = &tenant;
    service->tenant_bytes = NAME_BYTES_MAX;
    memset(tenant.name, 't', NAME_BYTES_MAX);
    memset(service->key, 't', NAME_BYTES_MAX);
    service->key[NAME_BYTES_MAX] = '/';
    memset(service->key + NAME_BYTES_MAX + 1, 's', NAME_BYTES_MAX);
}

TestSuite(next_step, .init = begin);

static void expect_only_commands(void)
{
    const char *lines = next_step(service, text);
    cr_assert_lt(strlen(lines), sizeof text - 1, "it is cut");
    for (const char *line = lines; *line != '\0';) {
        const char *end = strchr(line, '\n'), *said = strstr(line, "  # ");
        cr_assert(strncmp(line, "soloctl ", 8) == 0 || strncmp(line, "recoveryd ", 10) == 0 ||
                      strncmp(line, "kill -KILL ", 11) == 0,
                  "%s", line);
        cr_assert(said != NULL && (end == NULL || said < end), "it says not what for: %s", line);
        line = end == NULL ? "" : end + 1;
    }
}

Test(next_step, whatever_is_not_as_it_should_be_has_commands_that_help)
{
    for (int state = 0; state < SERVICE_STATES; state++)
        for (unsigned how = 0; how < 8; how++) {
            begin();
            service->state = (enum service_state)state;
            service->is_held = how & 1;
            service->is_failed_deploy = how & 2;
            service->wanted.generation = how & 4 ? 7 : 0;
            expect_only_commands();
            cr_assert_eq(text[0] == '\0', state == SERVICE_running, "%s",
                         service_state_name(service->state));
        }
}

Test(next_step, what_is_stopped_for_a_restart_is_not_to_be_killed)
{
    service->state = SERVICE_stopping;
    service->wanted.generation = 7;
    cr_assert_null(strstr(next_step(service, text), "kill"));
    cr_assert_not_null(strstr(text, "--for running"));
    service->wanted.generation = 0;
    cr_assert_not_null(strstr(next_step(service, text), "--force"));
    cr_assert_not_null(strstr(text, "--for gone"));
}

Test(next_step, a_failed_deploy_is_forgotten_and_not_restarted)
{
    service->state = SERVICE_failed;
    service->is_failed_deploy = true;
    cr_assert_null(strstr(next_step(service, text), "restart"));
    cr_assert_not_null(strstr(text, "soloctl kill"));
    cr_assert_not_null(strstr(text, "soloctl logs"));
    service->is_failed_deploy = false;
    service->is_held = true;
    service->wanted.generation = 7;
    cr_assert_not_null(strstr(next_step(service, text), "soloctl restart"));
}

Test(next_step, what_has_completed_can_be_looked_at_and_forgotten)
{
    service->state = SERVICE_completed;
    cr_assert_not_null(strstr(next_step(service, text), "soloctl logs"));
    cr_assert_not_null(strstr(text, "soloctl kill"));
    cr_assert_null(strstr(text, "restart"), "it is not wanted any more");
}

Test(next_step, who_is_not_known_is_not_to_be_killed)
{
    tenant.supervisor.is_silent = true;
    tenant.supervisor.host_pid = 0;
    service->state = SERVICE_running;
    expect_only_commands();
    cr_assert_null(strstr(text, "kill -KILL"));
}

Test(next_step, beside_a_supervisor_that_does_not_answer_only_its_end_helps)
{
    tenant.supervisor.is_silent = true;
    tenant.supervisor.host_pid = 4711;
    for (int state = 0; state < SERVICE_STATES; state++) {
        service->state = (enum service_state)state;
        expect_only_commands();
        cr_assert_not_null(strstr(text, "kill -KILL 4711"));
        cr_assert_null(strstr(text, "soloctl restart"));
    }
}
