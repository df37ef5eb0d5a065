/* soloctl: the command line of Solo. Reads what was typed by the tables, opens a session, carries
 * the command out and ends with its exit code. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/log.h"
#include "soloctl/commands.h"
#include "soloctl/output.h"
#include "soloctl/session.h"

static int run(int argc, char **argv)
{
    static struct arguments arguments;
    AUTO(session_close) struct session session = { 0 };
    struct problem problem = { 0 };
    enum status status = arguments_parse(commands, command_count, argc, argv, &arguments, &problem);
    session.command = arguments.command;
    if (status != STATUS_OK)
        return session_fail(&session, "", status, &problem);
    if (arguments_has(&arguments, FLAG_help)) {
        if (arguments.topic != NULL)
            help_print_topic(stdout, arguments.topic);
        else
            help_print(stdout, arguments.command);
        return 0;
    }
    if (arguments.command == NULL) {
        help_print(stderr, NULL);
        return status_exit_code(STATUS_USAGE);
    }
    status = session_open(&session, &arguments, &problem);
    if (status != STATUS_OK)
        return session_fail(&session, "", status, &problem);
    return arguments.command->run(&session, &arguments);
}

int main(int argc, char **argv)
{
    /* Widths of characters in tables; numbers stay as they are in C. */
    setlocale(LC_CTYPE, "");
    /* A reader of our output that goes away must not break off a change that is under way. */
    signal(SIGPIPE, SIG_IGN);
    /* What fails is told once, in words of the command. */
    log_setup("soloctl", LOG_LEVEL_ERROR);
    int exit_code = run(argc, argv);
    if (!output_flush() && errno != EPIPE) {
        fprintf(stderr, "soloctl: cannot write to standard output: %s\n", strerror(errno));
        return exit_code == 0 ? 1 : exit_code;
    }
    return exit_code;
}
