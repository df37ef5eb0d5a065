/* One question after the other, each answered from the picture alone. */
#include "soloctl/needs.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/wire/reader.h"

static void add(struct needs *needs, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct needs *needs, const char *format, ...)
{
    if (needs->count == NEEDS_MAX)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(needs->texts[needs->count++], NEED_BYTES, format, arguments);
    va_end(arguments);
}

/* deployd says of the log's store what eventd says of its own. */
static bool is_damage_of_another(const struct picture *picture, const struct program *program)
{
    if (strcmp(program->name, "deployd") != 0)
        return false;
    for (size_t i = 0; i < picture->programs.count; i++)
        if (strcmp(picture->programs.items[i].name, "eventd") == 0 &&
            strcmp(picture->programs.items[i].state, "damaged") == 0)
            return true;
    return false;
}

static void of_daemons(const struct picture *picture, struct needs *needs)
{
    for (size_t i = 0; i < picture->programs.count; i++) {
        const struct program *program = &picture->programs.items[i];
        char why[64] = "its diagnostics say why";
        if (picture->programs.has_units)
            snprintf(why, sizeof why, "`journalctl -u %s` says why", program->name);
        if (strcmp(program->state, "failed") == 0)
            add(needs,
                "%s has ended and is not started again: %s, `soloctl daemon restart %s` starts it",
                program->name, why, program->name);
        else if (strcmp(program->state, "backoff") == 0)
            add(needs, "%s has ended and is started again: %s", program->name, why);
        else if (strcmp(program->state, "silent") == 0 && strcmp(program->name, "solod") == 0)
            add(needs, "solod does not answer: the other daemons go on without it");
        else if (strcmp(program->state, "silent") == 0)
            add(needs,
                "%s does not answer: `soloctl daemon restart %s` ends it and starts it again",
                program->name, program->name);
        else if (strcmp(program->state, "damaged") == 0 && !is_damage_of_another(picture, program))
            add(needs, "%s: %s", program->name, program->reason);
        else if (strcmp(program->state, "ready") == 0 && program->reason[0] != '\0')
            add(needs, "%s: %s", program->name, program->reason);
    }
}

static void of_log(const struct picture *picture, struct needs *needs)
{
    struct span log = picture_part(picture->system, "log");
    char fork[512] = "";
    if (log.size > 0)
        map_text(log, "forked", fork, sizeof fork);
    if (fork[0] != '\0')
        add(needs, "the log is FORKED, nothing is deployed or recovered by it: stop Solo and put "
                   "the newer DATA/events back, or keep this log with `recoveryd resolve --keep "
                   "log`, after putting back the right DATA/tokens or DATA/vault if these are of "
                   "another Solo");
}

static void of_recovery(const struct picture *picture, struct needs *needs)
{
    struct span recovery = picture_part(picture->system, "recovery");
    char state[33] = "", hint[65] = "";
    if (recovery.size > 0)
        map_text(recovery, "state", state, sizeof state);
    if (strcmp(state, "cut") == 0)
        add(needs, map_text(recovery, "exit_hint", hint, sizeof hint)[0] != '\0'
                       ? "recovery ran out of time: run `recoveryd` again"
                       : "recovery did not finish: run `recoveryd` again");
    else if (picture->programs.recovery_exit_code > 0)
        add(needs, "recoveryd ended with exit code %" PRId64 ": run `recoveryd` to see and resume",
            picture->programs.recovery_exit_code);
    /* What was brought back since is no news. */
    if (picture_number(recovery, "failed") > 0 &&
        picture_number(picture->system, "wanted_not_running") > 0)
        add(needs, "recovery could not bring everything back: `soloctl events --type "
                   "service_recovery_failed`");
}

static void of_services(const struct picture *picture, struct needs *needs)
{
    struct span services = picture_part(picture->system, "services");
    if (picture->silence[0] != '\0')
        add(needs, "%s", picture->silence);
    if (picture_number(picture_part(picture->system, "tenants_stuck"), "count") > 0)
        add(needs, "the log refuses what a supervisor reports: `recoveryd verify` names it and "
                   "says what to do");
    if (picture_number(services, "parked") > 0)
        add(needs, "services are parked: `soloctl get services` names them, `soloctl restart` "
                   "starts one again");
    if (picture_number(services, "failed") > 0)
        add(needs, "services have failed: `soloctl get services` names them");
    if (picture_number(services, "waiting_for_secret") > 0 &&
        strcmp(picture->vault_state, "sealed") == 0)
        add(needs,
            "services wait for secrets, and the vault is sealed: `soloctl vault status` says "
            "what opens it");
    if (picture_number(services, "wanted") > 0)
        add(needs, "nothing holds some wanted services: `recoveryd --dry-run` says what is due, "
                   "`recoveryd` starts them");
}

/* It opens by itself, or nobody wants it to be open yet. */
static bool is_sealed_for_a_while(const char *code)
{
    static const char *const codes[] = { "", "sealed_by_operator", "waiting_for_log",
                                         "first_passphrase" };
    for (size_t i = 0; i < COUNT_OF(codes); i++)
        if (strcmp(code, codes[i]) == 0)
            return true;
    return false;
}

static void of_tokens_and_secrets(const struct picture *picture, struct needs *needs)
{
    if (picture->has_tokens && picture->tokens.is_suspect)
        add(needs, "the clock made a large step forward, tokens may expire too early: set it "
                   "right, or `soloctl token trust-clock` if it is");
    if (strcmp(picture->outbox_state, "refused") == 0)
        add(needs, "eventd refuses what tokend has to tell: see the diagnostics of both");
    if (picture->vault.damaged_tenants > 0 || picture->vault.damaged > 0)
        add(needs, "secrets are damaged: `soloctl vault verify` names them");
    if (strcmp(picture->vault_state, "sealed") == 0 && !is_sealed_for_a_while(picture->vault_code))
        add(needs, "the vault cannot open: `soloctl vault status` says why and what opens it");
}

void needs_find(const struct picture *picture, struct needs *needs)
{
    /* While it starts or stops, services that wait are no news. */
    bool is_settled =
        strcmp(picture->state, "ready") == 0 || strcmp(picture->state, "degraded") == 0;
    struct span verification = picture_verification(picture);
    needs->count = 0;
    of_log(picture, needs);
    of_daemons(picture, needs);
    if (is_settled) {
        of_recovery(picture, needs);
        of_services(picture, needs);
    }
    of_tokens_and_secrets(picture, needs);
    if (picture_number(verification, "found") > 0 || picture_number(verification, "exit_code") != 0)
        add(needs, "the last verification found something: `recoveryd verify` names it and says "
                   "what to do");
}
