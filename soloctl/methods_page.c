/* methods: docs/methods.md, made from the tables of common/api so that it cannot lie. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/api/api.h"
#include "soloctl/commands.h"
#include "soloctl/session.h"

static const char introduction[] =
    "# Methods\n"
    "\n"
    "Made by `soloctl methods` from the blocks in `common/api`; do not edit. How a call travels is "
    "in "
    "`protocol.md`.\n"
    "A method is called on its daemon's socket, `RUN/<daemon>.sock` (a supervisor's: "
    "`RUN/internal/tenants/<tenant>.sock`).\n"
    "\n"
    "Kinds: `bool`, `u64`, `i64`, `str` (UTF-8 without NUL), `name` (`" NAME_PATTERN "`), "
    "`secret` (`" SECRET_NAME_PATTERN "`), `bytes`, `hash` (32 bytes),\n"
    "`str_list`, `map` and `list`. The bound is the greatest number, the most bytes, or the most "
    "elements of a `str_list`.\n"
    "Every method that changes something also takes `request_id`, a UUIDv7: repeated with it, it "
    "happens once. Every method takes `token`.\n";

static void print_bound(const struct field *field)
{
    if (field->bound != 0)
        printf("%" PRIu64, field->bound);
}

/* Text of a table cell: a bar would end it. */
static void print_cell(const char *text)
{
    for (; *text != '\0'; text++)
        printf(*text == '|' ? "\\%c" : "%c", *text);
}

static void print_fields(const char *title, const struct field_table *table, bool is_request)
{
    if (table->count == 0)
        return;
    printf("\n| %s | kind | bound | %smeaning |\n|---|---|---|---|%s\n", title,
           is_request ? "required | " : "", is_request ? "---|" : "");
    for (size_t i = 0; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        printf("| `%s` | %s | ", field->name, field_kind_name(field->kind));
        print_bound(field);
        printf(" | ");
        if (is_request)
            printf("%s | ", field->is_required ? "yes" : "");
        print_cell(field->meaning);
        printf(" |\n");
    }
}

static void print_method(const struct method *method)
{
    printf("\n### %s\n\n%s\n\nPermission: `%s`.", method->name, method->meaning,
           permission_name(method->permission));
    if ((method->flags & METHOD_MUTATES) != 0)
        printf(" Takes `request_id`.");
    if ((method->flags & METHOD_WRITES) != 0)
        printf(" Answered after the commit.");
    if ((method->flags & METHOD_STREAMS) != 0)
        printf(" Streams notifications until it ends.");
    if ((method->flags & METHOD_BIG) != 0)
        printf(" Requests up to %d bytes.", FRAME_BYTES_MAX);
    printf("\n");
    print_fields("in", method->request, true);
    print_fields("out", method->reply, false);
}

int command_methods(struct session *session, const struct arguments *arguments)
{
    (void)arguments;
    int refused = session_expect_text(session);
    if (refused != 0)
        return refused;
    fputs(introduction, stdout);
    const char *daemon = "";
    for (size_t i = 0; all_methods[i] != NULL; i++) {
        if (strcmp(daemon, all_method_daemons[i]) != 0) {
            daemon = all_method_daemons[i];
            printf("\n## %s\n", strcmp(daemon, "daemon") == 0  ? "every daemon"
                                : strcmp(daemon, "store") == 0 ? "eventd, tokend and vaultd"
                                                               : daemon);
        }
        print_method(all_methods[i]);
    }
    return 0;
}
