/* Filling in a refusal; nothing here can fail, long texts are cut. */
#include "common/base/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/name.h"

enum status problem_set(struct problem *problem, enum status code, const char *field,
                        const char *format, ...)
{
    if (problem == NULL)
        return code;
    problem->code = code;
    problem->retry_after_ms = 0;
    snprintf(problem->field, sizeof problem->field, "%s", field == NULL ? "" : field);
    text_cut(problem->field);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem->message, sizeof problem->message, format, arguments);
    va_end(arguments);
    text_cut(problem->message);
    return code;
}

void problem_prefix(struct problem *problem, const char *prefix)
{
    if (problem == NULL)
        return;
    char field[sizeof problem->field];
    const char *joint = problem->field[0] == '\0' || problem->field[0] == '[' ? "" : ".";
    int length = snprintf(field, sizeof field, "%s%s%s", prefix, joint, problem->field);
    (void)length; /* a place that is too deep to print is cut */
    memcpy(problem->field, field, sizeof field);
    problem->field[sizeof problem->field - 1] = '\0';
    text_cut(problem->field);
}

char *problem_first_line(const struct problem *problem, char *line)
{
    size_t size = strcspn(problem->message, "\n");
    memcpy(line, problem->message, size);
    line[size] = '\0';
    return line;
}
