/* Medians and lines. */
#include "bench/figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/command.h"

void figures_add(struct figures *figures, double value)
{
    if (figures->count == FIGURES_MAX)
        test_fail("too many figures");
    figures->values[figures->count++] = value;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

double figures_median(const struct figures *figures)
{
    double sorted[FIGURES_MAX];
    size_t count = figures->count;
    if (count == 0)
        return 0;
    memcpy(sorted, figures->values, count * sizeof sorted[0]);
    qsort(sorted, count, sizeof sorted[0], compare);
    return count % 2 == 1 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static void print_goal(double value, double goal, int at_most)
{
    if (goal != 0)
        printf("   wanted %s %g   %s", at_most ? "<=" : ">=", goal,
               (at_most ? value <= goal : value >= goal) ? "ok" : "MISSED");
    printf("\n");
    fflush(stdout);
}

void figure_print(const char *what, double value, const char *unit, const char *limit_name,
                  double limit, double goal, int at_most)
{
    double ratio = limit == 0 ? 0 : value / limit;
    printf("%-46s %12.3f %-8s %s %.3f   ratio %.2f", what, value, unit, limit_name, limit, ratio);
    print_goal(ratio, goal, at_most);
}

void figure_print_plain(const char *what, double value, const char *unit, double goal, int at_most)
{
    printf("%-46s %12.3f %-8s", what, value, unit);
    print_goal(value, goal, at_most);
}
