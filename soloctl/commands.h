#ifndef SOLO_SOLOCTL_COMMANDS_H
#define SOLO_SOLOCTL_COMMANDS_H

#include <stdio.h>

#include "soloctl/arguments.h"

/* Every command, made from commands.def; each function stands in the file that is named after it or
 * after its group. */
extern const struct command commands[];
extern const size_t command_count;

/* Prints the page that lists all commands, or that of one. */
void help_print(FILE *out, const struct command *command);
/* The same of the commands that begin with a word. */
void help_print_topic(FILE *out, const char *topic);
/* "usage: soloctl kill TENANT/NAME [--force]" and a line end. */
void usage_print(FILE *out, const struct command *command);

int command_deploy(struct session *session, const struct arguments *arguments);
int command_apply(struct session *session, const struct arguments *arguments);
int command_get_services(struct session *session, const struct arguments *arguments);
int command_get_tenants(struct session *session, const struct arguments *arguments);
int command_describe(struct session *session, const struct arguments *arguments);
int command_logs(struct session *session, const struct arguments *arguments);
int command_kill(struct session *session, const struct arguments *arguments);
int command_restart(struct session *session, const struct arguments *arguments);
int command_wait(struct session *session, const struct arguments *arguments);
int command_events(struct session *session, const struct arguments *arguments);
int command_get_tokens(struct session *session, const struct arguments *arguments);
int command_token_create(struct session *session, const struct arguments *arguments);
int command_token_attenuate(struct session *session, const struct arguments *arguments);
int command_token_describe(struct session *session, const struct arguments *arguments);
int command_token_renew(struct session *session, const struct arguments *arguments);
int command_token_revoke(struct session *session, const struct arguments *arguments);
int command_token_verify(struct session *session, const struct arguments *arguments);
int command_token_trust_clock(struct session *session, const struct arguments *arguments);
int command_get_secrets(struct session *session, const struct arguments *arguments);
int command_secret_set(struct session *session, const struct arguments *arguments);
int command_secret_describe(struct session *session, const struct arguments *arguments);
int command_secret_read(struct session *session, const struct arguments *arguments);
int command_secret_delete(struct session *session, const struct arguments *arguments);
int command_secret_destroy(struct session *session, const struct arguments *arguments);
int command_vault_status(struct session *session, const struct arguments *arguments);
int command_vault_seal(struct session *session, const struct arguments *arguments);
int command_vault_unseal(struct session *session, const struct arguments *arguments);
int command_vault_rotate(struct session *session, const struct arguments *arguments);
int command_vault_rekey(struct session *session, const struct arguments *arguments);
int command_vault_verify(struct session *session, const struct arguments *arguments);
int command_status(struct session *session, const struct arguments *arguments);
int command_daemon_list(struct session *session, const struct arguments *arguments);
int command_daemon_restart(struct session *session, const struct arguments *arguments);
int command_backup(struct session *session, const struct arguments *arguments);
int command_restore(struct session *session, const struct arguments *arguments);
int command_archive(struct session *session, const struct arguments *arguments);
int command_drain(struct session *session, const struct arguments *arguments);
int command_version(struct session *session, const struct arguments *arguments);
int command_explain(struct session *session, const struct arguments *arguments);
int command_complete(struct session *session, const struct arguments *arguments);
int command_completion(struct session *session, const struct arguments *arguments);
int command_manual(struct session *session, const struct arguments *arguments);
int command_troubleshooting(struct session *session, const struct arguments *arguments);
int command_methods(struct session *session, const struct arguments *arguments);

#endif
