/* Standard output and standard error of a test, read back. */
#include "tests/unit/soloctl/captured.h"

#include <stdio.h>
#include <unistd.h>

#include "tests/support/criterion.h"

static FILE *file;

void capture(int fd)
{
    fflush(NULL);
    file = tmpfile();
    cr_assert_not_null(file);
    cr_assert_geq(dup2(fileno(file), fd), 0);
}

const char *captured_text(void)
{
    static char text[65536];
    fflush(NULL);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    return text;
}

json_t *captured_json(void)
{
    json_error_t error;
    json_t *json = json_loads(captured_text(), JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(json, "%s in: %s", error.text, captured_text());
    return json;
}
